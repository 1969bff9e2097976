-- state_append: append encoded items, joined by commas, to a field that holds a list.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 field  6 items  7 max_bytes  8 max_fields  9 max_record_bytes  10 if_absent
-- RETURNS version weight
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- ERRORS  RSTYPE RSABSENT RSLIMIT RSFIELDS RSWEIGHT
-- COST    O(N) in the bytes of the field; in the fields of the record where the list is large
local call, args, tag = redis.call, ARGV, 'sa'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
-- The list is never decoded: a plain list is '[' items ']' to the byte, so the new items go before the last bracket.
local list = rec[4]
if not list then
  if args[10] ~= 'create' then return redis.error_reply('RSABSENT field') end
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
if #list * 1024 >= tonumber(args[9]) then
  local grown = #list
  if rec[4] then grown = grown - #rec[4] else grown = grown + #args[5] end
  -- @include weigh
  if weight > tonumber(args[9]) then return redis.error_reply('RSWEIGHT ' .. weight) end
  answer = answer .. ' ' .. weight
end
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, args[5], list)
if not rec[4] then
  -- @include order_new
end
-- @include finish
