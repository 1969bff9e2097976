-- Refuses a change of a cart that became an order. Its lines are in the order and nowhere else, so a change that finds a
-- line of the cart need not ask. The caller learns the order's id in hex: no text of users enters an error reply.
local frozen = call('HGET', KEYS[1], 'o')
if frozen then
  local hex = ''
  for i = 1, #frozen do hex = hex .. string.format('%02x', string.byte(frozen, i)) end
  return redis.error_reply('RSFROZEN ' .. hex)
end
