-- record_read: everything in the record but journals, owner, marks of hooks and what concerns its life, with the server's
-- time in microseconds and how many milliseconds the record still lives, all of one moment.
-- KEYS    1 record
-- ARGV
-- RETURNS now ttl_ms field_and_value...
-- ERRORS
-- COST    O(N) in the fields of the record
local all = redis.call('HGETALL', KEYS[1])
-- @include clock
local value = {now, '' .. redis.call('PTTL', KEYS[1])}
for i = 1, #all, 2 do
  local kind = string.sub(all[i], 1, 1)
  -- They change without a new version, and nobody reads them from memory.
  if not string.find('hijfFqQbgmnxD', kind, 1, true) then value[#value + 1], value[#value + 2] = all[i], all[i + 1] end
end
return value
