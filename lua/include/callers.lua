-- A tool call's first change of a record that is not its conversation's, such as a customer's. The record remembers the
-- last 1,024 of those calls, and drops those that were silent for ten minutes, two for each that comes. Leaves evicted.
local pens, window = call('HGET', KEYS[1], 'i') or '', string.format('%.0f', now - 600000000)
while #evicted < 2 and #pens >= 16 do
  local field = 'i' .. string.sub(pens, 1, 16)
  local last = string.match(call('HGET', KEYS[1], field) or '', ' (%d+)') or ''
  if last >= window and #pens < 16384 then break end
  evicted[#evicted + 1] = field
  pens = string.sub(pens, 17)
end
call('HSET', KEYS[1], 'i', pens .. string.sub(args[1], 2))
