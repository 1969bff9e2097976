-- hook_claim: ask whether a hook of the conversation is to run here; it runs once across all processes. Who gets 'run'
-- has it for the lease, and for longer by asking again; when a process dies under it, the next that asks gets it.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 hook_field  3 lease_us  4 claimant
-- RETURNS verdict
-- ERRORS
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', args[2])
-- @include clock
local value = 'run'
if rec[2] == 'done' then
  value = 'done'
elseif rec[2] and rec[2] > now and string.sub(rec[2], 18) ~= args[4] then
  value = 'wait'
else
  local mark = string.format('%.0f', now + args[3]) .. ' ' .. args[4]
  -- @include hook_mark
end
return value
