-- owner_leave: an owner goes, and others take its conversations over at once.
-- KEYS    1 owners
-- ARGV    1 owner
-- RETURNS left
-- ERRORS
-- COST    O(log N) in the owners
-- @include clock
redis.call('ZADD', KEYS[1], '-' .. now, ARGV[1])
local value = '1'
return value
