-- session_attempt: count an attempt to log in before it is made, unless there were too many. Its token tells a repeat.
-- KEYS    1 record
-- ARGV    1 token  2 limit  3 window_us  4 lockout_us  5 ttl_ms
-- RETURNS left
-- ERRORS
-- COST    O(N) in the limit
local limit = tonumber(ARGV[2])
-- The attempts, oldest first: sixteen digits of time and eight letters of token each.
local tries = redis.call('HGET', KEYS[1], 'tries') or ''
-- @include clock
local answer = 'corrupt'
if #tries % 24 ~= 0 or (tries ~= '' and not tonumber(string.sub(tries, -24, -9))) then return answer end
if not string.find(tries, ARGV[1], 1, true) then
  if #tries >= limit * 24 then
    local wait = string.sub(tries, -24, -9) + ARGV[4] - now
    if wait > 0 then
      -- Refused, and not counted: below zero, the microseconds until the next.
      answer = string.format('-%.0f', wait)
      return answer
    end
    tries = ''
  end
  local window = string.format('%016.0f', now - ARGV[3])
  while tries ~= '' and tries < window do tries = string.sub(tries, 25) end
  tries = tries .. now .. ARGV[1]
  redis.call('HSET', KEYS[1], 'tries', tries)
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
end
answer = string.format('%d', math.max(0, limit - #tries / 24))
return answer
