-- due_settle: say what becomes of conversations that were taken: when to look again, or that they are done with ('-').
-- It counts only where nobody has touched the entry since.
-- KEYS    1 index
-- ARGV    1 lease_end  2... due, conversation_id
-- RETURNS settled
-- ERRORS
-- COST    O(M log N) in the conversations given, of N in the index
local call, args, count, lease_end, done = redis.call, ARGV, 0, tonumber(ARGV[1]), {}
call('ZREM', KEYS[1], '')
for i = 2, #args, 2 do
  local score = call('ZSCORE', KEYS[1], args[i + 1])
  if score and tonumber(score) == lease_end then
    if args[i] == '-' then done[#done + 1] = args[i + 1] else call('ZADD', KEYS[1], args[i], args[i + 1]) end
    count = count + 1
  end
end
-- Many at once take half the time that they take one by one.
for i = 1, #done, 2000 do call('ZREM', KEYS[1], unpack(done, i, math.min(i + 1999, #done))) end
return tostring(count)
