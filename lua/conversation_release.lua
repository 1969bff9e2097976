-- conversation_release: an owner lets go of a conversation. Its token stays, so that what it has still under way is
-- refused once there is another owner.
-- KEYS    1 record
-- ARGV    1 owner
-- RETURNS released
-- ERRORS
-- COST    O(1)
local value = '0'
if redis.call('HGET', KEYS[1], 'F') == ARGV[1] then
  redis.call('HDEL', KEYS[1], 'F')
  value = '1'
end
return value
