-- conversation_forgotten: nothing is in the archive any more of a conversation that was erased or deleted: what stays of it
-- here may expire, unless somebody has begun it anew.
-- KEYS    1 record
-- ARGV    1 version  2 window_ms
-- RETURNS done
-- ERRORS
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'd', 'D')
local value = '0'
if rec[3] == args[1] then call('HDEL', KEYS[1], 'D') end
if rec[1] == args[1] and rec[2] == args[1] then
  call('PEXPIRE', KEYS[1], args[2])
  value = '1'
end
return value
