-- cache_release: give a lease back without a value, so that the next in line can load at once.
-- KEYS    1 record
-- ARGV    1 token
-- RETURNS released
-- ERRORS
-- COST    O(1)
-- Repeating it is harmless: a token is used for one load only.
local call, args = redis.call, ARGV
if call('HGET', KEYS[1], 'n') ~= args[1] then return '0' end
call('HDEL', KEYS[1], 'n', 'l')
return '1'
