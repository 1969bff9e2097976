-- fields_delete: take fields out of the record: state fields or cart lines.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5... fields
-- RETURNS version removed
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSDEADLINE RSCONFLICT RSCORRUPT
-- COST    O(N) in the fields named
-- One verb for each kind of field: a repeat must name the same.
local call, args, tag = redis.call, ARGV, 'd' .. string.sub(ARGV[5], 1, 1)
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1])
-- @include begin
local answer = seq .. tag .. ' ' .. now .. ' ' .. call('HDEL', KEYS[1], unpack(args, 5))
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry)
-- @include finish
