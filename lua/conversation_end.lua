-- conversation_end: end a conversation. Nothing changes it any more until it is resumed: its fence is closed, by a mark
-- before the token.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 reason  6 customer
-- RETURNS version ended
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'ce'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], 'd', 'b')
-- @include begin
-- One that was begun and never written to can end, too.
if not version or (rec[4] == version and rec[5] ~= version) then return redis.error_reply('RSUNBEGUN record') end
local answer = seq .. tag .. ' ' .. now .. ' 1'
-- @include journal
-- First a write that a full server takes: it must be able to end conversations, or it would stay full.
call('HDEL', KEYS[1], 'm')
local fence = '~' .. (rec[2] or '0000000000000000')
call('HSET', KEYS[1], 'v', now, 'f', fence, 'x', now .. ' ' .. args[5], args[1], entry)
if args[6] ~= '' then call('HSET', KEYS[1], 'g', args[6]) end
-- @include finish
