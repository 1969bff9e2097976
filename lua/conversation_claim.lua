-- conversation_claim: make a conversation an owner's, if nobody has it, or if who has it is known to be gone. Its token
-- is above those of all owners before; who has it already keeps its own, and so does one that only comes back under
-- another name. A claim is no content: the version stays, nothing is published, and a record that is absent remains so.
-- One that has ended is nobody's.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 owner  3 gone_owner  4 comes_back  5 ended_field  6 must_exist
-- RETURNS verdict token_or_owner
-- ERRORS  RSCORRUPT
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f', 'F', args[5])
-- @include fence
-- @include clock
local value
if closed or rec[4] == 'done' then
  value = 'ended'
elseif args[6] == '1' and not rec[1] then
  value = 'absent'
elseif rec[3] == args[2] and rec[2] then
  value = 'mine ' .. rec[2]
elseif rec[3] and rec[3] ~= args[3] then
  value = 'owned ' .. rec[3]
else
  -- @include may_expire
  local token = now
  if rec[3] and rec[2] and args[4] == '1' then
    token, value = rec[2], 'mine'
  else
    if rec[2] and rec[2] >= now then token = string.format('%.0f', rec[2] + 1) end
    value = rec[3] and 'taken' or 'new'
  end
  if rec[1] then
    call('HSET', KEYS[1], 'f', token, 'F', args[2])
  else
    call('HSET', KEYS[1], 'v', now, 'd', now, 'f', token, 'F', args[2])
  end
  -- @include expires_later
  value = value .. ' ' .. token
end
return value
