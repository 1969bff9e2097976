-- owner_alive: whether an owner's lease runs. Where it does not, it never will again.
-- KEYS    1 owners
-- ARGV    1 owner
-- RETURNS alive
-- ERRORS
-- COST    O(log N) in the owners
local value, score = '0', redis.call('ZSCORE', KEYS[1], ARGV[1])
if score and tonumber(score) > 0 then
  -- @include clock
  if tonumber(score) >= tonumber(now) then
    value = '1'
  else
    redis.call('ZADD', KEYS[1], '-' .. now, ARGV[1])
  end
end
return value
