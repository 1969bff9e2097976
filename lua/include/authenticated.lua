-- The guard of a change that only a user who is logged in may make. Expects now by the clock. Leaves renewed, for finish.
local session = call('HGET', KEYS[1], 'u')
-- @include session_verdict
if verdict == 'corrupt' then return redis.error_reply('RSCORRUPT session') end
if verdict ~= 'live' then return redis.error_reply('RSLOGIN ' .. verdict) end
-- @include session_slide
renewed = slid
