-- cart_clear: take every line out of the cart.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards
-- RETURNS version removed
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT RSFROZEN
-- COST    O(N) in the fields of the record
local call, args, tag = redis.call, ARGV, 'cc'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1])
-- @include begin
-- @include cart_frozen
local removed = 0
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  if #field > 1 and string.find(field, '^[cpal]') then
    call('HDEL', KEYS[1], field)
    if string.byte(field) == 99 then removed = removed + 1 end
  end
end
local answer = seq .. tag .. ' ' .. now .. ' ' .. removed
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry)
-- @include finish
