-- call_sent: the answer of a tool call was sent, so the next owner need not see to it.
-- KEYS    1 record
-- ARGV    1 journal  2 run_field
-- RETURNS noted
-- ERRORS
-- COST    O(1)
local value = '0'
if string.sub(redis.call('HGET', KEYS[1], ARGV[1]) or '', 1, 13) == '9999999999cd ' then
  redis.call('HDEL', KEYS[1], ARGV[2])
  value = '1'
end
return value
