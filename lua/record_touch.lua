-- record_touch: slide the expiry without a change; repeating it is harmless, so it is not journalled.
-- KEYS    1 record
-- ARGV    1 ttl_ms
-- RETURNS existed
-- ERRORS
-- COST    O(1)
local rec = redis.call('HMGET', KEYS[1], 'v', 'd')
if not rec[1] or rec[1] == rec[2] then return '0' end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return '1'
