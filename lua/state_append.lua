-- state_append: append an encoded item to a field that holds a list; an absent field counts as an empty list.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 field  6 item  7 max_bytes  8 max_fields
-- RETURNS version
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSDEADLINE RSCONFLICT RSCORRUPT RSTYPE RSLIMIT RSFIELDS
-- COST    O(N) in the bytes of the field
local call, args, tag = redis.call, ARGV, 'sa'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
-- The list is never decoded: a plain list is '[' items ']' to the byte, so the new item goes before the last bracket.
local list = rec[4]
if not list then
  if call('HLEN', KEYS[1]) >= tonumber(args[8]) then
    -- @include held
    if held >= tonumber(args[8]) then return redis.error_reply('RSFIELDS record') end
  end
  list = '[' .. args[6] .. ']'
elseif list == '[]' then
  list = '[' .. args[6] .. ']'
elseif string.sub(list, 1, 1) == '[' and string.sub(list, -1) == ']' then
  list = string.sub(list, 1, -2) .. ',' .. args[6] .. ']'
else
  return redis.error_reply('RSTYPE field')
end
if #list > tonumber(args[7]) then return redis.error_reply('RSLIMIT ' .. #list) end
local answer = seq .. tag .. ' ' .. now
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, args[5], list)
-- @include finish
