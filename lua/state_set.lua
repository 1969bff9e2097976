-- state_set: set one or more state fields, all or none.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 max_fields  6 max_record_bytes  7... field, value
-- RETURNS version weight
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT RSFIELDS RSWEIGHT
-- COST    O(N) in the fields named; in the fields of the record where one is new among old ones, or large
local call, args, tag = redis.call, ARGV, 'ss'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1])
-- @include begin
local named, cap, most = (#args - 6) / 2, tonumber(args[5]), tonumber(args[6])
local adding = named
if call('HLEN', KEYS[1]) + adding > cap then
  -- Perhaps too many: only now is it worth asking which of the fields are new.
  for i = 7, #args, 2 do adding = adding - call('HEXISTS', KEYS[1], args[i]) end
  -- @include held
  if adding > 0 and held + adding > cap then return redis.error_reply('RSFIELDS record') end
end
local answer, large = seq .. tag .. ' ' .. now, false
for i = 8, #args, 2 do large = large or #args[i] * 1024 >= most end
if large then
  local grown = 0
  for i = 7, #args, 2 do
    grown = grown + #args[i] + #args[i + 1]
    if call('HEXISTS', KEYS[1], args[i]) == 1 then grown = grown - #args[i] - call('HSTRLEN', KEYS[1], args[i]) end
  end
  -- @include weigh
  if weight > most then return redis.error_reply('RSWEIGHT ' .. weight) end
  answer = answer .. ' ' .. weight
end
-- @include journal
local added = call('HSET', KEYS[1], 'v', now, args[1], entry, unpack(args, 7))
if not journal then added = added - 1 end
if not version then added = added - 1 end
if added > 0 then
  local order = call('HGET', KEYS[1], 'k') or ''
  local all_new = added == named
  -- @include order_known
  for i = 7, #args, 2 do
    if all_new or not known[args[i]] then order = order .. string.char(#args[i] - 2) .. string.sub(args[i], 2) end
  end
  call('HSET', KEYS[1], 'k', order)
end
-- @include finish
