-- session_login: begin a session, in place of the one that there may be.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 session_us  6 idle_us  7 user
-- RETURNS version since
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'ui'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1])
-- @include begin
-- By the clock: a version can be ahead of it, and sessions are judged by the clock.
local since = time[1] .. string.format('%06d', us)
local idle_ends = '9999999999999999'
if args[6] ~= '0000000000000000' then idle_ends = string.format('%016.0f', since + args[6]) end
local expires = string.format('%016.0f', since + args[5])
local answer = seq .. tag .. ' ' .. now .. ' ' .. since
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, 'u', idle_ends .. expires .. since .. args[6], 'ud', args[7])
-- @include finish
