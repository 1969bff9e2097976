-- cart_remove: take a line out of the cart.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5... line_fields
-- RETURNS version removed
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT RSFROZEN
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'cr'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1])
-- @include begin
-- @include cart_frozen
local answer = seq .. tag .. ' ' .. now .. ' ' .. call('HDEL', KEYS[1], unpack(args, 5))
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry)
-- @include finish
