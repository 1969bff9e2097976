-- session_touch: begin the idle time of a live session anew; repeating it is harmless, so it is not journalled.
-- KEYS    1 record
-- ARGV    1 ttl_ms
-- RETURNS verdict
-- ERRORS
-- COST    O(1)
local session = redis.call('HGET', KEYS[1], 'u')
-- @include clock
-- @include session_verdict
if verdict == 'live' then
  -- @include session_slide
  if slid then redis.call('HSET', KEYS[1], 'u', slid) end
  redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
local answer = verdict
return answer
