-- session_touch: begin the idle time of a live session anew; repeating it is harmless, so it is not journalled.
-- KEYS    1 record
-- ARGV    1 ttl_ms
-- RETURNS verdict
-- ERRORS
-- COST    O(1)
local call, args = redis.call, ARGV
local session = call('HGET', KEYS[1], 'u')
-- @include clock
-- @include session_verdict
if verdict == 'live' then
  -- @include session_slide
  if slid then call('HSET', KEYS[1], 'u', slid) end
  -- @include lives_on
end
local answer = verdict
return answer
