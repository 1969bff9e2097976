-- cart_set_attributes: replace a line's attributes; the line must exist.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 line_field  6 max_record_bytes  7 attributes_field  8 attributes
-- RETURNS version
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- ERRORS  RSFROZEN RSABSENT RSWEIGHT
-- COST    O(1); in the fields of the record where the attributes are large
local call, args, tag = redis.call, ARGV, 'cl'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
if not rec[4] then
  -- @include cart_frozen
  return redis.error_reply('RSABSENT line')
end
local attributes, most = args[8], tonumber(args[6])
-- @include cart_weigh
local answer = seq .. tag .. ' ' .. now
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, args[7], attributes)
-- @include finish
