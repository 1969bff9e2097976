-- conversation_merged: note that an ended conversation is in its customer's profile, so that the archiver need not look.
-- KEYS    1 record
-- ARGV
-- RETURNS noted
-- ERRORS
-- COST    O(1)
local value = '0'
if redis.call('HEXISTS', KEYS[1], 'x') == 1 then
  -- First a write that a full server takes.
  redis.call('HDEL', KEYS[1], 'm')
  redis.call('HSET', KEYS[1], 'm', '1')
  value = '1'
end
return value
