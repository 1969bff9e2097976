-- hook_done: note that a hook of the conversation ran, so that it runs nowhere else. It is no word of a claimant who has
-- lost the hook to another: that one has still to do it.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 hook_field  3 claimant
-- RETURNS noted
-- ERRORS  RSUNBEGUN RSCORRUPT
-- COST    O(1)
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', args[2], 'f')
-- @include hook_holder
local value, token = '0', string.sub(args[3], 1, 16)
if (not holder or holder == args[3]) and (token == '0000000000000000' or not rec[3] or token >= rec[3]) then
  -- @include clock
  local mark = 'done'
  value = '1'
  -- @include hook_mark
end
return value
