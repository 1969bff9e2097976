-- cart_start_over: begin a new, empty cart after a checkout; the order stays. A cart that is not frozen stays as it is.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards
-- RETURNS version was_frozen
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'cs'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1])
-- @include begin
local answer = seq .. tag .. ' ' .. now .. ' ' .. call('HDEL', KEYS[1], 'o')
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry)
-- @include finish
