-- state_set: set one or more state fields, all or none.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 max_fields  6... field, value
-- RETURNS version
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSDEADLINE RSCONFLICT RSCORRUPT RSFIELDS
-- COST    O(N) in the fields named
local call, args, tag = redis.call, ARGV, 'ss'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1])
-- @include begin
local adding, cap = (#args - 5) / 2, tonumber(args[5])
if call('HLEN', KEYS[1]) + adding > cap then
  -- Perhaps too many: only now is it worth asking which of the fields are new.
  for i = 6, #args, 2 do adding = adding - call('HEXISTS', KEYS[1], args[i]) end
  -- @include held
  if adding > 0 and held + adding > cap then return redis.error_reply('RSFIELDS record') end
end
local answer = seq .. tag .. ' ' .. now
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, unpack(args, 6))
-- @include finish
