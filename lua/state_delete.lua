-- state_delete: take state fields out of the record.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5... fields
-- RETURNS version removed
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- COST    O(N) in the state fields of the record
local call, args, tag = redis.call, ARGV, 'sd'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1])
-- @include begin
local removed = call('HDEL', KEYS[1], unpack(args, 5))
local answer = seq .. tag .. ' ' .. now .. ' ' .. removed
-- @include journal
if removed > 0 then
  local gone, order = {}, call('HGET', KEYS[1], 'k') or ''
  for i = 5, #args do gone[args[i]] = true end
  -- @include order_drop
  call('HSET', KEYS[1], 'v', now, args[1], entry, 'k', rest)
else
  call('HSET', KEYS[1], 'v', now, args[1], entry)
end
-- @include finish
