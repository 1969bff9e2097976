-- How many fields of the user's the record holds; journals and the like do not count. Only asked near the cap.
local held = 0
for _, name in ipairs(call('HKEYS', KEYS[1])) do
  if #name > 1 and string.find(name, '^[scow]') then held = held + 1 end
end
