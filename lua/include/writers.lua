-- A writer's first change of this record: the number of journals stays bounded, the longest silent one goes.
-- Rare (once for each process and conversation), so it may look at every field; nothing is kept for it.
local writers = {}
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 1) == 'j' then writers[#writers + 1] = field end
end
if #writers >= 64 then
  local silent, since = nil, nil
  for _, field in ipairs(writers) do
    local last = string.match(call('HGET', KEYS[1], field), ' (%d+)') or ''
    if not since or last < since then silent, since = field, last end
  end
  call('HDEL', KEYS[1], silent)
end
