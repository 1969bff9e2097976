-- conversation_erase: take everything out of a conversation, for good. What stays says that it was erased: late changes
-- are refused, and an archiver takes it out of the archive, where a customer is given all that is not another's. What
-- stays has no expiry before that is done (conversation_forgotten), so it must be in the index before (due_register), and
-- soon after. Deadline 0: there is no archiver, and it expires after the window.
-- KEYS    1 record
-- ARGV    1 window_ms  2 deadline_us  3 customer  4 token
-- RETURNS verdict
-- ERRORS  RSDEADLINE RSCORRUPT
-- COST    O(N) in the fields of the record
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f', 'd', 'b', 'g', 'x', 'D', 'G')
-- @include fence
-- @include clock
-- @include may_expire
local value = 'erased'
local tombstone = closed and rec[1] == rec[3]
if args[3] ~= '' and rec[5] and rec[5] ~= args[3] and not tombstone then
  -- It has become another's since somebody looked.
  value = 'absent'
elseif rec[2] and args[4] < rec[2] then
  value = 'fenced ' .. rec[2]
elseif args[2] ~= '0' and args[2] < now then
  return redis.error_reply('RSDEADLINE passed')
else
  local version = now
  if not rec[1] or rec[1] == rec[3] then value = 'absent' end
  if rec[1] and rec[1] >= now then version = string.format('%.0f', rec[1] + 1) end
  local fence, whose = '~' .. (rec[2] or '0000000000000000'), #args[3] .. ':' .. args[3]
  local erased = tombstone and string.sub(rec[6] or '', 18) == 'erased'
  if args[3] == '' or rec[7] or (erased and not rec[8]) then
    -- All of it. What was erased or deleted whoever's it was, stays so.
    whose = nil
  elseif erased and string.find(rec[8], whose, 1, true) then
    whose = rec[8]
  elseif erased then
    whose = rec[8] .. whose
  end
  call('DEL', KEYS[1])
  call('HSET', KEYS[1], 'v', version, 'd', version, 'f', fence, 'x', now .. ' erased')
  if whose then call('HSET', KEYS[1], 'G', whose) end
  if rec[4] then call('HSET', KEYS[1], 'b', rec[4]) end
  if args[2] == '0' then call('PEXPIRE', KEYS[1], args[1]) end
  call('PUBLISH', KEYS[1], version)
end
return value
