-- cart_add: add quantity to a line; creates the line. A price given replaces the line's price, attributes its attributes.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 line  6 quantity  7 price_field  8 price  9 added  10 cap  11... option, value
-- RETURNS version quantity
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- ERRORS  RSFROZEN RSLIMIT RSFIELDS RSCART RSWEIGHT
-- COST    O(1); in the fields of the record where limits on the whole cart or large attributes are given
local call, args, tag = redis.call, ARGV, 'ca'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
local quantity, had, attributes = args[6], rec[4], nil
if had then
  had = tonumber(had)
  if not had or had < 1 or had % 1 ~= 0 or had > 1000000000 then return redis.error_reply('RSCORRUPT line') end
  quantity = quantity + had
  if quantity > 1000000000 then return redis.error_reply('RSLIMIT quantity') end
else
  -- @include cart_frozen
  if call('HLEN', KEYS[1]) >= tonumber(args[10]) then
    -- @include held
    if held >= tonumber(args[10]) then return redis.error_reply('RSFIELDS record') end
  end
end
if args[11] then
  local first = 11
  quantity = tonumber(quantity)
  -- @include cart_limits
  attributes = options.attributes
  if attributes then
    local most = tonumber(options.max_record_bytes)
    -- @include cart_weigh
  end
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
if attributes then call('HSET', KEYS[1], 'l' .. string.sub(args[5], 2), attributes) end
-- @include finish
