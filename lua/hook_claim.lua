-- hook_claim: ask whether a hook of the conversation is to run here; it runs once across all processes. Who gets 'run'
-- has it for the lease, and for longer by asking again; when a process dies under it, the next that asks gets it, and at
-- once who owns the conversation now. A claimant's first sixteen characters are the token of its owner.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 hook_field  3 lease_us  4 claimant
-- RETURNS verdict
-- ERRORS  RSUNBEGUN RSCORRUPT
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', args[2], 'f')
-- @include hook_holder
-- @include clock
local value, token = 'run', string.sub(args[4], 1, 16)
-- No lease ends later than it lasts (give or take a second): the clock went back, and its holder may be long dead.
if token ~= '0000000000000000' and rec[3] and token < rec[3] then
  value = 'fenced'
elseif rec[2] == 'done' then
  value = 'done'
elseif holder and holder ~= args[4] and string.sub(holder, 1, 16) >= token and rec[2] > now
  and tonumber(string.sub(rec[2], 1, 16)) <= now + args[3] + 1000000 then
  value = 'wait'
else
  local mark = string.format('%.0f', now + args[3]) .. ' ' .. args[4]
  -- @include hook_mark
end
return value
