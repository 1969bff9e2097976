-- conversation_begin: begin a conversation that is kept until it is archived. It is empty and counts as absent, but from
-- now on changes find a record. It must be in the index before (due_register), and soon after, by the clock of this
-- server: what is in no index would stay for ever. Beginning again changes nothing. Deadline 0 begins nothing, and
-- tells what there is; "unkept" is a record that has an expiry so far, and is in no index.
-- KEYS    1 record
-- ARGV    1 deadline_us  2 customer
-- RETURNS verdict
-- ERRORS  RSDEADLINE RSCORRUPT
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f', 'g', 'b', 'd')
-- @include fence
-- @include clock
local value = 'there'
if closed then
  value = 'ended'
elseif not rec[1] then
  -- @include may_keep
  if args[1] == '0' then
    value = 'absent'
  elseif args[1] < now then
    return redis.error_reply('RSDEADLINE passed')
  else
    call('HSET', KEYS[1], 'v', now, 'd', now, 'b', now)
    value = 'begun'
  end
end
if value == 'there' and not rec[4] and args[1] == '0' then
  value = 'unkept'
elseif value == 'there' and args[1] ~= '0' then
  -- It may have been written without an archive so far, and have an expiry. (What was deleted has not just begun.)
  if not rec[4] then call('HSET', KEYS[1], 'b', rec[5] == rec[1] and now or rec[1]) end
  call('PERSIST', KEYS[1])
end
-- What was deleted may be begun anew for another.
local nobodys = not rec[3] or (rec[5] == rec[1] and rec[4] ~= rec[1])
if args[2] ~= '' and nobodys and value ~= 'ended' and value ~= 'absent' then call('HSET', KEYS[1], 'g', args[2]) end
return value
