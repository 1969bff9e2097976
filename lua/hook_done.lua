-- hook_done: note that a hook of the conversation ran, so that it runs nowhere else.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 hook_field
-- RETURNS done
-- ERRORS
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v')
-- @include clock
local value, mark = '1', 'done'
-- @include hook_mark
return value
