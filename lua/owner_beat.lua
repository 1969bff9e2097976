-- owner_beat: renew the leases of a process's owners, all at once, and tell which owners of other processes are gone. A
-- lease that has ended is never renewed: its owner is marked as gone, with a score below zero, and stays so for a day.
-- The owners that are there come last, unless they are very many.
-- KEYS    1 owners
-- ARGV    1 lease_us  2... owner
-- RETURNS now next_end lapsed_count gone_count owner...
-- ERRORS
-- COST    O(N log M + M) in the owners given, of M in all
local call, args = redis.call, ARGV
-- @include clock
local until_us, lapsed, gone = string.format('%.0f', now + args[1]), {}, {}
for _, owner in ipairs(call('ZRANGEBYSCORE', KEYS[1], '(0', '(' .. now)) do
  call('ZADD', KEYS[1], '-' .. now, owner)
end
for i = 2, #args do
  -- A plus joins: it is an owner's first lease.
  local owner, score = string.sub(args[i], 2), nil
  if string.sub(args[i], 1, 1) ~= '+' then score = call('ZSCORE', KEYS[1], owner) end
  if string.sub(args[i], 1, 1) == '+' or (score and tonumber(score) > 0) then
    call('ZADD', KEYS[1], until_us, owner)
  else
    lapsed[#lapsed + 1] = owner
  end
end
call('ZREMRANGEBYSCORE', KEYS[1], string.format('(-%.0f', now - 86400000000), '(0')
for _, owner in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', '(0', 'LIMIT', '0', '200')) do gone[#gone + 1] = owner end
local first = call('ZRANGEBYSCORE', KEYS[1], '(0', '+inf', 'WITHSCORES', 'LIMIT', '0', '1')
call('PEXPIRE', KEYS[1], '604800000')
local value, there = {now, first[2] or '0', tostring(#lapsed), tostring(#gone)}, {}
if call('ZCARD', KEYS[1]) <= 1000 then there = call('ZRANGEBYSCORE', KEYS[1], '(0', '+inf') end
for _, owner in ipairs(lapsed) do value[#value + 1] = owner end
for _, owner in ipairs(gone) do value[#value + 1] = owner end
for _, owner in ipairs(there) do value[#value + 1] = owner end
return value
