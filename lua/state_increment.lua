-- state_increment: add a whole number to a field; an absent field counts as 0.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 field  6 by  7 max_fields
-- RETURNS version value
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT RSTYPE RSFIELDS
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'si'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
if rec[4] then
  if not string.find(rec[4], '^-?%d+$') then return redis.error_reply('RSTYPE field') end
elseif call('HLEN', KEYS[1]) >= tonumber(args[7]) then
  -- @include held
  if held >= tonumber(args[7]) then return redis.error_reply('RSFIELDS record') end
end
-- The first write, and the last judge: a sum beyond 64 bits fails here and has then changed nothing.
local value = redis.pcall('HINCRBY', KEYS[1], args[5], args[6])
if type(value) == 'table' then
  local why = tostring(value.err)  -- no string in servers that only imitate Redis
  if string.find(why, 'integer', 1, true) or string.find(why, 'overflow', 1, true) then
    return redis.error_reply('RSTYPE field')
  end
  return value
end
-- Lua's numbers are doubles: past 2^53 only the stored text is exact.
if value > 9007199254740991 or value < -9007199254740991 then
  value = call('HGET', KEYS[1], args[5])
else
  value = string.format('%.0f', value)
end
local answer = seq .. tag .. ' ' .. now .. ' ' .. value
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry)
if not rec[4] then
  -- @include order_new
end
-- @include finish
