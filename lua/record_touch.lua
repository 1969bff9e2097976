-- record_touch: slide the expiry without a change; repeating it is harmless, so it is not journalled.
-- KEYS    1 record
-- ARGV    1 ttl_ms
-- RETURNS existed
-- ERRORS
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'd', 'f')
-- What has ended is not held up by a touch.
if not rec[1] or rec[1] == rec[2] or (rec[3] and #rec[3] ~= 16) then return '0' end
-- @include clock
-- @include lives_on
return '1'
