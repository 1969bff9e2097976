-- cache_claim: the fresh value (1), else the stale one while another loads (2), else the lease (3), else how many
-- milliseconds the lease of another still runs (4). "rejected" names an entry whose tags were found invalidated.
-- KEYS    1 record
-- ARGV    1 token  2 lease_ms  3 rejected
-- RETURNS verdict fresh_us id tags value
-- ERRORS  RSCORRUPT
-- COST    O(1)
-- Repeating it with the same token is harmless: whoever holds the lease gets it again, from now on. A copy that comes
-- after its load has ended can take a lease that nobody uses; it runs out like that of a dead loader.
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'i', 't', 'u', 'k', 'n', 'l')
-- @include cache_value
local kept, holder, lease = rec[5], rec[6], rec[7]
if rec[1] and (not kept or #kept ~= 16 or string.find(kept, '%D')) then return redis.error_reply('RSCORRUPT entry') end
if (holder or lease) and (not holder or not lease or #lease ~= 16 or string.find(lease, '%D')) then
  return redis.error_reply('RSCORRUPT lease')
end
-- @include cache_now
local held = holder and holder ~= args[1] and lease > now
local usable = rec[1] and rec[2] ~= args[3]
if usable and (rec[4] > now or (held and kept > now)) then
  local answer = ' ' .. rec[2] .. ' ' .. rec[3] .. ' ' .. rec[1]
  if rec[4] > now then answer = '1 ' .. string.format('%.0f', rec[4] - now) .. answer else answer = '2 0' .. answer end
  return answer
end
if held then
  local answer = '4 ' .. string.format('%.0f', math.ceil((lease - now) / 1000))
  return answer
end
-- @include may_expire
call('HSET', KEYS[1], 'n', args[1], 'l', string.format('%.0f', now + args[2] * 1000))
if call('PTTL', KEYS[1]) < tonumber(args[2]) then call('PEXPIRE', KEYS[1], args[2]) end
return '3'
