-- session_read: who is logged in, judged by the server's clock. "live", the session and its user; or why there is none.
-- KEYS    1 record
-- ARGV
-- RETURNS verdict session_user
-- ERRORS
-- COST    O(1)
local rec = redis.call('HMGET', KEYS[1], 'u', 'ud')
local session = rec[1]
-- @include clock
-- @include session_verdict
local answer = verdict
if verdict == 'live' then answer = verdict .. ' ' .. session .. (rec[2] or '') end
return answer
