-- session_logout: end the session, if there is one.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards
-- RETURNS version was_live
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'uo'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], 'u')
-- @include begin
-- By the clock: a version can be ahead of it.
local clock, was_live = time[1] .. string.format('%06d', us), 0
if rec[4] and rec[4] >= clock and string.sub(rec[4], 17) >= clock then was_live = 1 end
local answer = seq .. tag .. ' ' .. now .. ' ' .. was_live
-- @include journal
-- Deleting first: a user can log out of a server whose memory is full.
call('HDEL', KEYS[1], 'u', 'ud')
call('HSET', KEYS[1], 'v', now, args[1], entry)
-- @include finish
