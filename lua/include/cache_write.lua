-- Expects now, and args = {id, value, fresh_ms, stale_ms, tags}. Replaces the value, and ends whatever load is under way.
-- HSET comes first: it is what a full server refuses.
local life = tonumber(args[3]) + tonumber(args[4])
local fresh = string.format('%.0f', now + args[3] * 1000)
local kept = string.format('%.0f', now + life * 1000)
call('HSET', KEYS[1], 'v', args[2], 'i', args[1], 't', args[5], 'u', fresh, 'k', kept)
call('HDEL', KEYS[1], 'n', 'l')
call('PEXPIRE', KEYS[1], string.format('%.0f', life))
