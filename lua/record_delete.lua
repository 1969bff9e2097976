-- record_delete: take everything out of the record. Version and journals stay for the window, so that a repeat of an
-- earlier change is still recognised and cannot bring half a record back; so do the marks of hooks that ran, which must
-- not run again, the owner, the tool calls, whose it is, and since when a customer is erased. d = v marks the record as
-- absent. One that was kept stays until an archiver has taken out of the archive what there is of it, for which D says
-- up to which version (conversation_forgotten).
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 window_ms  4 guards
-- RETURNS version existed
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- COST    O(N) in the fields of the record
local call, args, tag = redis.call, ARGV, 'rd'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], 'd', 'b')
-- @include begin
for _, field in ipairs(call('HKEYS', KEYS[1])) do
  local kind = string.sub(field, 1, 1)
  if kind == '' or not string.find('ijvfFqQhbgnx', kind, 1, true) then call('HDEL', KEYS[1], field) end
end
local existed = 1
if not version or rec[4] == version then existed = 0 end
local answer = seq .. tag .. ' ' .. now .. ' ' .. existed
-- @include journal
call('HSET', KEYS[1], 'v', now, 'd', now, args[1], entry)
if rec[5] then call('HSET', KEYS[1], 'D', now) end
args = {args[1], args[2], rec[5] and '-' or args[3]}
-- @include finish
