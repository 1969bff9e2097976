-- call_open: the tool calls of a conversation that were begun and not answered as far as is known, oldest first.
-- KEYS    1 record
-- ARGV
-- RETURNS begun_and_request...
-- ERRORS
-- COST    O(N) in the calls remembered
local call, value = redis.call, {}
local pens = call('HGET', KEYS[1], 'q') or ''
for place = 1, #pens, 16 do
  local run = call('HGET', KEYS[1], 'Q' .. string.sub(pens, place, place + 15))
  local begun = run and string.match(run, '^%d+ %x+ %d+ (%d+ .+)$')
  if begun then value[#value + 1] = begun end
end
return value
