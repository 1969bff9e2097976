-- call_finish: record the answer of a tool call, and fold its operations into it: none of them can be repeated any more,
-- and no straggler is taken. Who runs it stays noted until the answer was sent.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 journal  3 run_field  4 token  5 attempt  6 answer
-- RETURNS verdict
-- ERRORS  RSFENCED RSCORRUPT
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f', args[2], 'q', args[3])
-- The answer of a call is kept also where the conversation has ended meanwhile.
-- luacheck: ignore closed
-- @include fence
if rec[2] and args[4] < rec[2] then return redis.error_reply('RSFENCED ' .. rec[2]) end
local value = 'kept'
if not rec[3] then
  -- The record expired meanwhile, or was removed.
  value = 'gone'
elseif string.sub(rec[3], 1, 13) == '9999999999cd ' then
  value = 'done'
else
  -- @include call_run
  if token ~= args[4] or attempt ~= args[5] or not tries or not since then
    value = 'lost'
  else
    -- @include clock
    -- @include may_expire
    call('HSET', KEYS[1], args[2], '9999999999cd ' .. now .. ' ' .. args[6] .. '|9999999999')
    -- @include expires_later
  end
end
return value
