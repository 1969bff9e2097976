-- due_claim: take conversations that are due, for the time of a lease: until it ends nobody else gets them, and then
-- somebody does, unless they were settled. Those that are due longest come first.
-- KEYS    1 index
-- ARGV    1 lease_us  2 most
-- RETURNS lease_end conversation_id...
-- ERRORS
-- COST    O(M log N) in the conversations taken, of N in the index
local call, args = redis.call, ARGV
-- First a write that a full server takes: archiving must go on there. (No id is empty.)
call('ZREM', KEYS[1], '')
-- @include clock
local due = call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', '0', args[2])
local lease_end = string.format('%.0f', now + args[1])
local value, pairs_ = {lease_end}, {}
for i, id in ipairs(due) do
  pairs_[2 * i - 1], pairs_[2 * i] = lease_end, id
  value[i + 1] = id
end
-- Many at once take half the time that they take one by one.
for i = 1, #pairs_, 2000 do call('ZADD', KEYS[1], unpack(pairs_, i, math.min(i + 1999, #pairs_))) end
return value
