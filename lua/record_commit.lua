-- record_commit: change several fields, all or none, on the condition that fields hold what they were seen to hold.
-- Verbs: '=' holds that value, '!' is absent (conditions); 's' set, 'n' set unless there, 'd' delete, 'i' add a whole
-- number, 't' set to this change's version, 'r' set as if it were new, last in the order of the fields. The last to name
-- a field counts; each is named once by a change. 'f': a full server takes it, too. '-' alone: there was nothing to
-- change, which the journal remembers.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 max_fields  6 max_record_bytes  7... verb, field, value
-- RETURNS version weight
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- ERRORS  RSCHANGED RSTYPE RSFIELDS RSWEIGHT
-- COST    O(N) in the fields named; in the fields of the record where one comes, goes or is large
local call, args, tag = redis.call, ARGV, 'rc'
local named = {}
for i = 8, #args, 3 do named[#named + 1] = args[i] end
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], unpack(named))
-- @include begin
local most, grown, large, born, gone = tonumber(args[6]), 0, false, {}, {}
local puts, drops, leaving, coming = {}, {}, false, 0
for i = 7, #args, 3 do
  local place = (i - 7) / 3
  local verb, field, value, held_now = args[i], args[i + 1], args[i + 2], rec[4 + place]
  if (verb == '=' and held_now ~= value) or (verb == '!' and held_now) then
    return redis.error_reply('RSCHANGED ' .. place)
  end
  if verb == 'i' then
    local had = held_now or '0'
    if not string.find(had, '^-?%d+$') then return redis.error_reply('RSTYPE ' .. place) end
    value = had + value
    -- Doubles count exactly that far; state_increment goes to 64 bits.
    if value > 9007199254740991 or value < -9007199254740991 then
      return redis.error_reply('RSTYPE ' .. place)
    end
    value = string.format('%.0f', value)
  elseif verb == 't' then
    value = now
  elseif verb == 'f' then
    -- First a write that a full server takes. (No field has an empty name.)
    call('HDEL', KEYS[1], '')
  end
  if verb == 'd' then
    drops[#drops + 1] = field
    if held_now then
      grown = grown - #field - #held_now
      coming = coming - 1
      if string.byte(field) == 115 then gone[field], leaving = true, true end
    end
  elseif verb == 's' or verb == 'r' or verb == 'i' or verb == 't' or (verb == 'n' and not held_now) then
    puts[#puts + 1], puts[#puts + 2] = field, value
    grown = grown + #value
    large = large or #value * 1024 >= most
    if held_now then
      grown = grown - #held_now
      if verb == 'r' then gone[field], leaving, born[#born + 1] = true, true, field end
    else
      grown = grown + #field
      coming = coming + 1
      if string.byte(field) == 115 then born[#born + 1] = field end
    end
  end
end
if coming > 0 and call('HLEN', KEYS[1]) + coming > tonumber(args[5]) then
  -- @include held
  if held + coming > tonumber(args[5]) then return redis.error_reply('RSFIELDS record') end
end
local answer = seq .. tag .. ' ' .. now
if large then
  -- @include weigh
  if weight > most then return redis.error_reply('RSWEIGHT ' .. weight) end
  answer = answer .. ' ' .. weight
end
-- @include journal
if args[7] == '-' then
  -- @include journal_alone
  return answer
end
if leaving or born[1] then
  local order = call('HGET', KEYS[1], 'k') or ''
  if leaving then
    -- @include order_drop
    order = rest
  end
  for _, field in ipairs(born) do order = order .. string.char(#field - 2) .. string.sub(field, 2) end
  puts[#puts + 1], puts[#puts + 2] = 'k', order
end
call('HSET', KEYS[1], 'v', now, args[1], entry, unpack(puts))
if drops[1] then call('HDEL', KEYS[1], unpack(drops)) end
-- @include finish
