-- conversation_end: end a conversation. Nothing changes it any more until it is resumed: its fence is closed, by a mark
-- before the token. That is no content: the version stays that of the last change, and nothing is published.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 reason  6 customer
-- RETURNS version
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'ce'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], 'd', 'b')
-- luacheck: ignore renewed stamp
-- @include begin
local empty = version and rec[4] == version
-- One that was begun and never written to can end, too; one that was deleted cannot.
if not version or (empty and rec[5] ~= version) then return redis.error_reply('RSUNBEGUN record') end
local answer = seq .. tag .. ' ' .. version
-- @include journal
-- First a write that a full server takes: it must be able to end conversations, or it would stay full.
call('HDEL', KEYS[1], 'm', unpack(evicted))
local fence = '~' .. (rec[2] or '0000000000000000')
call('HSET', KEYS[1], 'f', fence, 'x', time[1] .. string.format('%06d', us) .. ' ' .. args[5], args[1], entry)
if empty then call('HDEL', KEYS[1], 'd') end
if args[6] ~= '' then call('HSET', KEYS[1], 'g', args[6]) end
-- What was written before there was an archive is in no index yet: its expiry stays.
if args[3] ~= '-' then call('PEXPIRE', KEYS[1], args[3]) elseif rec[5] then call('PERSIST', KEYS[1]) end
answer = version .. answer
return answer
