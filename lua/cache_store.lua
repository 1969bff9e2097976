-- cache_store: keep what the holder of the lease has loaded, and give the lease back; "0" where the lease is no longer
-- the caller's, because it ran out or the key was invalidated meanwhile: then nothing is kept.
-- KEYS    1 record
-- ARGV    1 token  2 value  3 fresh_ms  4 stale_ms  5 tags
-- RETURNS stored
-- ERRORS
-- COST    O(N) in the bytes of the value
-- Repeating it is harmless: the first copy that runs takes the lease away, so a later one finds none and writes nothing.
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'n', 'l', 'i')
if rec[3] == args[1] then return '1' end
-- @include cache_now
if rec[1] ~= args[1] or not rec[2] or rec[2] <= now then return '0' end
-- @include may_expire
-- @include cache_permissions
-- @include cache_write
-- @include cache_announce
return '1'
