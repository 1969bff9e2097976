-- call_open: the tool calls of a conversation that were begun and are not finished, oldest first.
-- KEYS    1 record
-- ARGV
-- RETURNS begun_and_request...
-- ERRORS
-- COST    O(N) in the calls remembered
local call, value = redis.call, {}
local pens = call('HGET', KEYS[1], 'q') or ''
for place = 1, #pens, 16 do
  local pen = string.sub(pens, place, place + 15)
  local rec = call('HMGET', KEYS[1], 'q' .. pen, 'Q' .. pen)
  local begun = rec[1] and string.match(rec[1], '1000000000cb (%d+) %d+ %x+|1000000000$')
  if begun and rec[2] and rec[2] ~= '' then value[#value + 1] = begun .. ' ' .. rec[2] end
end
return value
