-- session_read: who is logged in, judged by the server's clock, led by the version of the record, sixteen digits.
-- "live", the session and its user; or why there is none.
-- KEYS    1 record
-- ARGV
-- RETURNS version verdict session_user
-- ERRORS
-- COST    O(1)
local rec = redis.call('HMGET', KEYS[1], 'u', 'ud', 'v')
local session, version = rec[1], rec[3]
-- @include record_version
-- @include clock
-- @include session_verdict
local answer = version .. verdict
if verdict == 'live' then answer = answer .. ' ' .. session .. (rec[2] or '') end
return answer
