-- conversation_collect: tell what is due of a conversation: "take" it to the archive, as it has ended; one that
-- was silent for too long is ended here. "later": look again then. "gone": there is nothing. "erased": nothing that began
-- before may be left in the archive either, and if a customer is named, nothing of that customer and of that life.
-- "deleted": nothing of up to version D may be; D may also stand in what was begun anew since.
-- Its last change and the last sign that it is in use are in the record, so no change has to note that anywhere else.
-- KEYS    1 record
-- ARGV    1 idle_us
-- RETURNS verdict when field_and_value...
-- ERRORS  RSCORRUPT
-- COST    O(1)
local call = redis.call
local rec = call('HMGET', KEYS[1], 'v', 'f', 'd', 'b', 'n', 'x', 'G', 'D')
-- @include fence
-- @include clock
local value
if not rec[1] then
  value = {'gone', now}
elseif #rec[1] ~= 16 or string.find(rec[1], '%D') or (closed and not rec[6]) then
  return redis.error_reply('RSCORRUPT version')
elseif rec[5] and (#rec[5] ~= 16 or string.find(rec[5], '%D')) then
  return redis.error_reply('RSCORRUPT use')
elseif rec[3] == rec[1] and closed then
  -- What archiving has left, or erasure.
  value = {'gone', now}
  if string.sub(rec[6], 18) == 'erased' then
    value = {'erased', now, 'v', rec[1], 'x', rec[6], 'b', rec[4] or '', 'G', rec[7] or ''}
  end
elseif rec[3] == rec[1] and rec[4] ~= rec[1] and call('PTTL', KEYS[1]) > 0 then
  -- Deleted; what is left expires by itself.
  value = {'later', string.format('%.0f', now + call('PTTL', KEYS[1]) * 1000 + 1000000)}
elseif rec[3] == rec[1] and rec[8] then
  value = {'deleted', now, 'D', rec[8]}
else
  local last = rec[1]
  if rec[5] and rec[5] > last then last = rec[5] end
  local due = string.format('%.0f', last + ARGV[1])
  if not closed and due > now then
    -- Somebody without an archive may have given it an expiry.
    call('PERSIST', KEYS[1])
    value = {'later', due}
    if rec[8] then value[3], value[4] = 'D', rec[8] end
  elseif rec[3] == rec[1] and rec[4] ~= rec[1] then
    call('DEL', KEYS[1])
    value = {'gone', now}
  else
    if not closed then
      -- First a write that a full server takes: it must be able to give memory back.
      call('HDEL', KEYS[1], 'm', rec[3] == rec[1] and 'd' or 'm')
      call('HSET', KEYS[1], 'f', '~' .. (rec[2] or '0000000000000000'), 'x', now .. ' abandoned')
      call('PERSIST', KEYS[1])
    end
    value = {'take', now}
  end
end
return value
