-- cart_add: add quantity to a line; creates the line. A price given replaces the line's price.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 line_field  6 quantity  7 price  8 max_fields
-- RETURNS version quantity
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSDEADLINE RSCONFLICT RSCORRUPT RSLIMIT RSFIELDS
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'ca'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
local quantity, price, added = args[6] + 0, args[7], now
local line = rec[4]
if line then
  local had, old_price, since = string.match(line, '^(%d+) (%S+) (%d+)$')
  if not had then return redis.error_reply('RSCORRUPT line') end
  quantity, added = quantity + had, since
  if price == '-' then price = old_price end
  if quantity > 1000000000 then return redis.error_reply('RSLIMIT quantity') end
elseif call('HLEN', KEYS[1]) >= tonumber(args[8]) then
  -- @include held
  if held >= tonumber(args[8]) then return redis.error_reply('RSFIELDS record') end
end
-- Converted once for its two uses, and as an integer: a double's text takes longer.
quantity = string.format('%d', quantity)
local result = now .. ' ' .. quantity
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, args[5], quantity .. ' ' .. price .. ' ' .. added)
-- @include finish
