-- Takes state fields out of the order index. Expects order, and gone: the set of those that go. Leaves rest.
local rest, place = {}, 1
while place <= #order do
  local size = string.byte(order, place) + 1
  if not gone['s' .. string.sub(order, place + 1, place + size)] then
    rest[#rest + 1] = string.sub(order, place, place + size)
  end
  place = place + 1 + size
end
rest = table.concat(rest)
