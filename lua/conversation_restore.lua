-- conversation_restore: put a conversation back that was archived, unless there is one of that id. It must be in the
-- index before (due_register), and soon after. Its version is above the archived one.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 deadline_us  3 version  4... field, value
-- RETURNS verdict
-- ERRORS  RSDEADLINE RSCORRUPT
-- COST    O(N) in the fields given
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f', 'd', 'x', 'F', 'b')
-- @include fence
-- @include clock
local value = 'open'
if closed and string.sub(rec[4] or '', 18) == 'erased' then
  value = 'erased'
elseif rec[1] and rec[1] == rec[3] and not closed and rec[6] and rec[6] ~= rec[1] then
  value = 'deleted'
elseif closed and args[3] < (string.match(rec[4] or '', ' archived (%d+)$') or '') then
  -- It was back, was changed and left once more since the archive was read.
  value = 'stale'
elseif not rec[1] or rec[1] == rec[3] then
  if args[2] < now then return redis.error_reply('RSDEADLINE passed') end
  -- @include may_expire
  local version = now
  for _, former in ipairs({args[3], rec[1] or '0'}) do
    if former >= version then version = string.format('%.0f', former + 1) end
  end
  -- Who owns what is there so far goes on; whoever owned it long ago does not. Marks of hooks stay as well.
  local fence = version
  if rec[5] and rec[2] and not closed then fence = rec[2] else call('HDEL', KEYS[1], 'F') end
  call('HSET', KEYS[1], 'v', version, 'f', fence)
  for i = 4, #args, 2000 do call('HSET', KEYS[1], unpack(args, i, math.min(i + 1999, #args))) end
  call('HSET', KEYS[1], 'r', now)
  call('HDEL', KEYS[1], 'd', 'x', 'm')
  if args[1] == '-' then call('PERSIST', KEYS[1]) else call('PEXPIRE', KEYS[1], args[1]) end
  call('PUBLISH', KEYS[1], version)
  value = 'restored'
end
return value
