-- How many bytes the record would hold, journals apart. Expects grown: what the change adds to them. Leaves weight.
-- Asked for large values only (see Limits), as it looks at every field.
local weight = grown
for _, name in ipairs(call('HKEYS', KEYS[1])) do
  if not string.find('ijqQ', string.sub(name, 1, 1), 1, true) then weight = weight + #name + call('HSTRLEN', KEYS[1], name) end
end
