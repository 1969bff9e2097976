-- cache_get: the value of an entry while it is fresh, by the server's clock, and for how many microseconds it will be;
-- "0" where there is none.
-- KEYS    1 record
-- ARGV
-- RETURNS verdict fresh_us id tags value
-- ERRORS  RSCORRUPT
-- COST    O(1)
local call = redis.call
local rec = call('HMGET', KEYS[1], 'v', 'i', 't', 'u')
-- @include cache_value
-- @include cache_now
if not rec[1] or rec[4] <= now then return '0' end
local answer = '1 ' .. string.format('%.0f', rec[4] - now) .. ' ' .. rec[2] .. ' ' .. rec[3] .. ' ' .. rec[1]
return answer
