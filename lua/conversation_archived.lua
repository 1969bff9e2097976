-- conversation_archived: a version of an ended conversation is in the archive: if it still is that one, take everything
-- out here. For a while its closed fence stays, so that a change that comes late is refused instead of beginning it anew.
-- KEYS    1 record
-- ARGV    1 version  2 window_ms
-- RETURNS removed
-- ERRORS
-- COST    O(N) in the fields of the record
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f')
local value = '0'
if rec[1] == args[1] and rec[2] and #rec[2] == 17 then
  -- @include clock
  -- @include may_expire
  local version = now
  if rec[1] >= now then version = string.format('%.0f', rec[1] + 1) end
  call('DEL', KEYS[1])
  call('HSET', KEYS[1], 'v', version, 'd', version, 'f', rec[2], 'x', now .. ' archived ' .. args[1])
  call('PEXPIRE', KEYS[1], args[2])
  call('PUBLISH', KEYS[1], version)
  value = '1'
end
return value
