-- Which tool calls leave the window. Expects pens: sixteen characters for each call, in the order of their beginning;
-- oldest: the time before which a call is forgotten; and args[7]: how many are remembered. Takes those out of pens, and
-- leaves their fields in dropped. One that runs is not forgotten for being many, and each time at most two for their age.
local place, aged = 1, 0
while place <= #pens do
  local full = #pens >= 16 * args[7]
  if not full and aged >= 2 then break end
  local pen = string.sub(pens, place, place + 15)
  local entry = call('HGET', KEYS[1], 'q' .. pen) or ''
  local last = string.match(entry, '^%d+%a+ (%d+)') or ''
  if last < oldest or (full and string.sub(entry, 1, 13) == '9999999999cd ') then
    pens = string.sub(pens, 1, place - 1) .. string.sub(pens, place + 16)
    dropped[#dropped + 1], dropped[#dropped + 2] = 'q' .. pen, 'Q' .. pen
    aged = aged + 1
  elseif full then
    place = place + 16
  else
    break
  end
end
