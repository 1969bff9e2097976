-- hook_claim: ask whether a hook of the conversation is to run here; it runs once across all processes. Who gets 'run'
-- has it for the lease, and for longer by asking again; when a process dies under it, the next that asks gets it.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 hook_field  3 lease_us  4 claimant
-- RETURNS verdict
-- ERRORS  RSCORRUPT
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', args[2])
-- @include hook_holder
-- @include clock
local value = 'run'
-- No lease ends later than it lasts (give or take a second): the clock went back, and its holder may be long dead.
if rec[2] == 'done' then
  value = 'done'
elseif holder and holder ~= args[4] and rec[2] > now and tonumber(string.sub(rec[2], 1, 16)) <= now + args[3] + 1000000 then
  value = 'wait'
else
  local mark = string.format('%.0f', now + args[3]) .. ' ' .. args[4]
  -- @include hook_mark
end
return value
