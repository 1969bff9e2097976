-- The quantity fields of the cart. Leaves lines: their names.
local lines = {}
for _, name in ipairs(call('HKEYS', KEYS[1])) do
  if string.byte(name) == 99 and #name > 1 then lines[#lines + 1] = name end
end
