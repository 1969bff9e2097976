-- call_finish: record the answer of a tool call, and fold its operations into it: none of them can be repeated any more,
-- and no straggler is taken.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 journal  3 request_field  4 token  5 attempt  6 answer
-- RETURNS verdict
-- ERRORS  RSFENCED RSCORRUPT
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f', args[2])
-- @include fence
local journal, value = rec[3], 'kept'
if journal and string.sub(journal, 1, 13) == '9999999999cd ' then
  value = 'done'
elseif rec[2] and args[4] < rec[2] then
  return redis.error_reply('RSFENCED ' .. rec[2])
elseif not journal then
  -- The record expired meanwhile, or was removed.
  value = 'gone'
else
  local token, attempt = string.match(journal, '1000000000cb %d+ (%d+) (%x+)|1000000000$')
  if not token then return redis.error_reply('RSCORRUPT journal') end
  if token ~= args[4] or attempt ~= args[5] then
    value = 'lost'
  else
    -- @include clock
    -- @include cache_expires
    call('HSET', KEYS[1], args[2], '9999999999cd ' .. now .. ' ' .. args[6] .. '|9999999999')
    call('HDEL', KEYS[1], args[3])
    -- @include expires_later
  end
end
return value
