-- record_ttl: milliseconds until the record expires; -2 where it is absent, -1 where it never does.
-- KEYS    1 record
-- ARGV
-- RETURNS ttl_ms
-- ERRORS
-- COST    O(1)
local rec = redis.call('HMGET', KEYS[1], 'v', 'd')
if not rec[1] or rec[1] == rec[2] then return '-2' end
return '' .. redis.call('PTTL', KEYS[1])
