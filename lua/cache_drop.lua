-- cache_drop: take an entry out, with the lease of a load under way; or take the mark of a tag away.
-- KEYS    1 record
-- ARGV    1... field
-- RETURNS done
-- ERRORS
-- COST    O(1)
-- Repeating it is harmless.
local call, args = redis.call, ARGV
-- @include cache_permissions
call('HDEL', KEYS[1], unpack(args, 1))
-- @include cache_announce
return '1'
