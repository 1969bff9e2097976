-- cart_add: add quantity to a line; creates the line. A price given replaces the line's price.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 line_field  6 quantity  7 price  8 max_fields
-- RETURNS version quantity
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSDEADLINE RSCONFLICT RSCORRUPT RSLIMIT RSFIELDS
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'ca'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
local quantity, price, line, since = tonumber(args[6]), args[7], rec[4], ' ' .. now .. ' '
if line then
  -- "<quantity, ten digits> <version when added> <price>": columns of fixed width are cut, not parsed.
  local had = tonumber(string.sub(line, 1, 10))
  if not had or #line < 29 then return redis.error_reply('RSCORRUPT line') end
  quantity, since = quantity + had, string.sub(line, 11, 28)
  if price == '-' then price = string.sub(line, 29) end
  if quantity > 1000000000 then return redis.error_reply('RSLIMIT quantity') end
elseif call('HLEN', KEYS[1]) >= tonumber(args[8]) then
  -- @include held
  if held >= tonumber(args[8]) then return redis.error_reply('RSFIELDS record') end
end
quantity = string.format('%010d', quantity)
local result = now .. ' ' .. quantity
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, args[5], quantity .. since .. price)
-- @include finish
