-- Which state fields the order index names. Expects order; leaves known. The index is one byte of length less one, then
-- the name, for each state field in the order in which they came: a hash forgets it, and a dict does not.
local known, at = {}, 1
while at <= #order do
  local size = string.byte(order, at) + 1
  known['s' .. string.sub(order, at + 1, at + size)] = true
  at = at + 1 + size
end
