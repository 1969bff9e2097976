-- cache_mark: the mark of a tag, made if it has none, and kept at least as long as an entry that is about to carry it.
-- KEYS    1 record
-- ARGV    1 new_mark  2 life_ms
-- RETURNS mark
-- ERRORS  RSCORRUPT
-- COST    O(1)
-- Repeating it is harmless: the mark that is there stays.
local call, args = redis.call, ARGV
local value = call('HGET', KEYS[1], 'm')
if value and (#value ~= 32 or string.find(value, '%X')) then return redis.error_reply('RSCORRUPT mark') end
-- @include may_expire
if not value then
  value = args[1]
  call('HSET', KEYS[1], 'm', value)
end
if call('PTTL', KEYS[1]) < tonumber(args[2]) then call('PEXPIRE', KEYS[1], args[2]) end
return value
