-- conversation_merged: note that a conversation is in its customer's profile as it ended then, so that the archiver need
-- not look. It may have been resumed and have ended once more since.
-- KEYS    1 record
-- ARGV    1 ended
-- RETURNS noted
-- ERRORS
-- COST    O(1)
local value = '0'
if string.sub(redis.call('HGET', KEYS[1], 'x') or '', 1, 16) == ARGV[1] then
  -- First a write that a full server takes.
  redis.call('HDEL', KEYS[1], 'm')
  redis.call('HSET', KEYS[1], 'm', '1')
  value = '1'
end
return value
