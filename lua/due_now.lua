-- due_now: have a conversation looked at as soon as an archiver can.
-- KEYS    1 index
-- ARGV    1 conversation_id
-- RETURNS now
-- ERRORS
-- COST    O(log N) in the conversations of the index
-- @include clock
redis.call('ZADD', KEYS[1], now, ARGV[1])
local value = now
return value
