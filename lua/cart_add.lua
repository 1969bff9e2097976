-- cart_add: add quantity to a line; creates the line. A price given replaces the line's price.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 line_field  6 quantity  7 price_field  8 price  9 added_field  10 max_fields
-- RETURNS version quantity
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSDEADLINE RSCONFLICT RSCORRUPT RSLIMIT RSFIELDS
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'ca'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
local quantity, had = tonumber(args[6]), rec[4]
if had then
  had = tonumber(had)
  if not had or had < 1 or had % 1 ~= 0 or had > 1000000000 then return redis.error_reply('RSCORRUPT line') end
  quantity = quantity + had
  if quantity > 1000000000 then return redis.error_reply('RSLIMIT quantity') end
elseif call('HLEN', KEYS[1]) >= tonumber(args[10]) then
  -- @include held
  if held >= tonumber(args[10]) then return redis.error_reply('RSFIELDS record') end
end
-- Converted once for its two uses, and as an integer: a double's text takes longer.
quantity = string.format('%d', quantity)
local answer = seq .. tag .. ' ' .. now .. ' ' .. quantity
-- @include journal
-- Quantity, price and age have a field each: most changes touch one, and none is taken apart or put together.
if args[8] == '-' then
  call('HSET', KEYS[1], 'v', now, args[1], entry, args[5], quantity)
else
  call('HSET', KEYS[1], 'v', now, args[1], entry, args[5], quantity, args[7], args[8])
end
if not had then call('HSET', KEYS[1], args[9], now) end
-- @include finish
