-- cache_set: write an entry, whatever was there. A load under way is not kept: what is set is newer.
-- KEYS    1 record
-- ARGV    1 id  2 value  3 fresh_ms  4 stale_ms  5 tags
-- RETURNS done
-- ERRORS
-- COST    O(N) in the bytes of the value
-- Repeating it sets the same once more. If others wrote in between, it is as if this call had come after them: it had
-- not returned yet, so both orders are right.
local call, args = redis.call, ARGV
-- @include cache_now
-- @include may_expire
-- @include cache_permissions
-- @include cache_write
-- @include cache_announce
return '1'
