-- customer_erase: take everything out of a customer's record, for good. Version and journals stay for the window, without
-- the results in them, so that no repeat of an earlier change brings anything back; and since when it is erased, so that
-- no conversation of before is merged into it (see merge).
-- KEYS    1 record
-- ARGV    1 window_ms
-- RETURNS existed
-- ERRORS
-- COST    O(N) in the fields of the record
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'd')
-- @include clock
-- @include may_expire
-- First a write that a full server takes.
call('HDEL', KEYS[1], '')
local version, value = now, '1'
if not rec[1] or rec[1] == rec[2] then value = '0' end
if rec[1] and rec[1] >= now then version = string.format('%.0f', rec[1] + 1) end
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  local seq, kind = nil, string.sub(field, 1, 1)
  if (kind == 'j' or kind == 'i') and #field > 1 then
    seq = string.match(call('HGET', KEYS[1], field), '^%d%d%d%d%d%d%d%d%d%d')
  end
  -- Its newest operation, with a verb that no script has, and nothing below is remembered (see begin).
  if seq then
    call('HSET', KEYS[1], field, seq .. 'er ' .. version .. '|' .. seq)
  elseif field ~= 'i' then
    call('HDEL', KEYS[1], field)
  end
end
call('HSET', KEYS[1], 'v', version, 'd', version, 'x', now .. ' erased')
call('PEXPIRE', KEYS[1], args[1])
call('PUBLISH', KEYS[1], version)
return value
