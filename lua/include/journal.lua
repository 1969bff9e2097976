-- Expects op, seq, journal and answer: what is returned now, and to every repeat. Leaves entry: the writer's new journal.
-- An operation that flew alone replaces the field. One of several in flight keeps the results still owed to the others:
-- all from its floor on, newest first; the floor closes the text, so that stragglers below it are refused.
local entry, evicted = answer, {}
if not journal and string.byte(args[1]) == 105 then
  -- @include callers
  entry = entry .. '|' .. string.sub(op, 12)
elseif not journal then
  -- @include writers
  if #op > 10 then entry = entry .. '|' .. string.sub(op, 12) end
elseif #op > 10 or journal >= seq then
  local floor = string.sub(op, 12)
  if floor == '' then floor = seq end
  local stood = string.match(journal, '|(%d+)$') or string.sub(journal, 1, 10)
  if floor < stood then floor = stood end
  if floor == stood and journal < seq then
    -- None leaves, and this one is the newest: so with the operations of a tool call, which all stay.
    entry = answer .. ';' .. journal
    if string.sub(journal, -11, -11) ~= '|' then entry = entry .. '|' .. floor end
  else
    local newer, older = '', ''
    for kept in string.gmatch(journal, '[^;|]+') do
      if string.find(kept, ' ', 1, true) and kept >= floor then
        if kept < answer then older = older .. ';' .. kept else newer = newer .. kept .. ';' end
      end
    end
    entry = newer .. answer .. older .. '|' .. floor
  end
end
