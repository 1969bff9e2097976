-- cache_get: the value of an entry while it is fresh, by the server's clock; "0" where there is none.
-- KEYS    1 record
-- ARGV
-- RETURNS verdict id tags value
-- ERRORS  RSCORRUPT
-- COST    O(1)
local call = redis.call
local rec = call('HMGET', KEYS[1], 'v', 'i', 't', 'u')
-- @include cache_value
-- @include cache_now
if not rec[1] or rec[4] <= now then return '0' end
local answer = '1 ' .. rec[2] .. ' ' .. rec[3] .. ' ' .. rec[1]
return answer
