-- cart_checkout: freeze the cart as an order, once: its lines become the order's.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 order_field
-- RETURNS version lines
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- ERRORS  RSFROZEN RSEMPTY RSORDERED
-- COST    O(N) in the fields of the record
local call, args, tag = redis.call, ARGV, 'co'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include cart_lines
if rec[4] and #lines == 0 then
  -- The order stands. Nothing is changed, so no condition is judged: who repeats a checkout is to learn of its order at
  -- any later time and from any process, also where the first reply was lost.
  local answer = '9999999999999999' .. string.sub(args[2], 1, 10) .. tag .. ' ' .. string.match(rec[4], '^%d*') .. ' 0'
  return answer
end
-- @include begin
-- A new cart with lines of its own, which this id would not sell. (A repeat by op_id was answered from the journal.)
if rec[4] then return redis.error_reply('RSORDERED cart') end
-- @include cart_frozen
if #lines == 0 then return redis.error_reply('RSEMPTY cart') end
-- The order: the version of the checkout, then for each line its sku, quantity, price, age and attributes, each led by
-- its length, so that no byte of one can be taken for another's. What a line lacks is empty. The lines themselves go, so
-- the record holds no more fields than before, and hardly more bytes: neither cap can keep a cart from its checkout.
local parts = {now}
for _, name in ipairs(lines) do
  local sku = string.sub(name, 2)
  local line = call('HMGET', KEYS[1], name, 'p' .. sku, 'a' .. sku, 'l' .. sku)
  local quantity, price, added, attributes = line[1], line[2], line[3], line[4]
  if #quantity > 10 or not string.find(quantity, '^[1-9]%d*$') then return redis.error_reply('RSCORRUPT cart') end
  if price and not string.find(price, '^%d+$') and not string.find(price, '^%d+%.%d+$') then
    return redis.error_reply('RSCORRUPT cart')
  end
  if not added or #added ~= 16 or string.find(added, '%D') then return redis.error_reply('RSCORRUPT cart') end
  for _, part in ipairs({sku, quantity, price or '', added, attributes or ''}) do
    parts[#parts + 1] = #part .. ':' .. part
  end
end
local answer = seq .. tag .. ' ' .. now .. ' ' .. #lines
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, 'o', string.sub(args[5], 2), args[5], table.concat(parts))
for _, name in ipairs(lines) do
  local sku = string.sub(name, 2)
  call('HDEL', KEYS[1], name, 'p' .. sku, 'a' .. sku, 'l' .. sku)
end
-- @include finish
