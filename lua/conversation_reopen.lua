-- conversation_reopen: let an ended conversation go on that has not left for the archive yet. Who owned it before owns it
-- no more. Doing it again changes nothing.
-- KEYS    1 record
-- ARGV    1 ttl_ms
-- RETURNS verdict
-- ERRORS  RSCORRUPT
-- COST    O(N) in the fields of the record
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f', 'd', 'x', 'b')
-- @include fence
local value
if not rec[1] then
  value = 'absent'
elseif closed and rec[1] == rec[3] then
  value = string.sub(rec[4] or '', 18) == 'erased' and 'erased' or 'archived'
elseif rec[1] == rec[3] then
  -- What was deleted must not come back from the archive. (What has just begun, or was only claimed, may be there.)
  value = rec[5] and rec[5] ~= rec[1] and 'deleted' or 'absent'
elseif not closed then
  value = 'open'
else
  -- @include clock
  -- @include may_expire
  -- It may have been written without an archive so far; what is on its way there is of the same life.
  if args[1] == '-' and not rec[5] then call('HSET', KEYS[1], 'b', rec[1]) end
  -- By the clock, as is the time of the merge that it is compared with: a version can be ahead of it.
  call('HSET', KEYS[1], 'r', now)
  if rec[1] >= now then now = string.format('%.0f', rec[1] + 1) end
  call('HSET', KEYS[1], 'v', now, 'f', now)
  call('HDEL', KEYS[1], 'x', 'm', 'F')
  -- It will end once more.
  for _, field in ipairs(call('HKEYS', KEYS[1])) do
    if string.find(field, '^h.*:on_conversation_ended$') then call('HDEL', KEYS[1], field) end
  end
  if args[1] == '-' then call('PERSIST', KEYS[1]) else call('PEXPIRE', KEYS[1], args[1]) end
  call('PUBLISH', KEYS[1], now)
  value = 'reopened'
end
return value
