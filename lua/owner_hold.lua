-- owner_hold: note that an owner is about to claim a conversation, so that others find it when the owner is gone.
-- KEYS    1 holdings
-- ARGV    1 ttl_ms  2 conversation_id  3 agent
-- RETURNS noted
-- ERRORS
-- COST    O(1)
local call, args = redis.call, ARGV
-- @include may_expire
call('HSET', KEYS[1], args[2], args[3])
-- @include expires_later
local value = '1'
return value
