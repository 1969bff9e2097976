-- conversation_erase: take everything out of a conversation, for good. What stays for a while says that it was erased:
-- late changes are refused, and an archiver that was on its way with it takes it out of the archive again.
-- KEYS    1 record
-- ARGV    1 window_ms
-- RETURNS existed
-- ERRORS  RSCORRUPT
-- COST    O(N) in the fields of the record
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f', 'd')
-- @include fence
-- @include clock
-- @include may_expire
local version, value = now, '1'
if not rec[1] or rec[1] == rec[3] then value = '0' end
if rec[1] and rec[1] >= now then version = string.format('%.0f', rec[1] + 1) end
call('DEL', KEYS[1])
local fence = '~' .. (rec[2] or '0000000000000000')
call('HSET', KEYS[1], 'v', version, 'd', version, 'f', fence, 'x', now .. ' erased')
call('PEXPIRE', KEYS[1], args[1])
call('PUBLISH', KEYS[1], version)
return value
