-- cart_set_quantity: set a line's quantity; the line must exist.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 line_field  6 quantity  7... option, value
-- RETURNS version quantity
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- ERRORS  RSFROZEN RSABSENT RSCART
-- COST    O(1); in the fields of the record where the whole cart has a limit
local call, args, tag = redis.call, ARGV, 'cq'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
if not rec[4] then
  -- @include cart_frozen
  return redis.error_reply('RSABSENT line')
end
local had = tonumber(rec[4])
if not had or had < 1 or had % 1 ~= 0 or had > 1000000000 then return redis.error_reply('RSCORRUPT line') end
if args[7] then
  local first, quantity = 7, tonumber(args[6])
  -- @include cart_limits
end
local answer = seq .. tag .. ' ' .. now .. ' ' .. args[6]
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, args[5], args[6])
-- @include finish
