-- A writer's first change of this record. The number of journals stays bounded: past 64 those go that were silent for
-- ten minutes, past 256 the one that was silent longest. Rare (once for each writer and record), so it may look at
-- every field; nothing is kept for it. Leaves evicted: they go after the write that a full server refuses.
local writers = {}
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  if string.sub(field, 1, 1) == 'j' then writers[#writers + 1] = field end
end
if #writers >= 64 then
  local silent, oldest = nil, nil
  local window = string.format('%.0f', now - 600000000)
  for i, text in ipairs(call('HMGET', KEYS[1], unpack(writers))) do
    local last = string.match(text, ' (%d+)') or ''
    if not oldest or last < oldest then silent, oldest = writers[i], last end
    if last < window then evicted[#evicted + 1] = writers[i] end
  end
  if #writers >= 256 and #evicted == 0 then evicted[1] = silent end
end
