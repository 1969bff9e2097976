-- customer_note: append an event with the server's time to the customer's history; beyond the caps the oldest go.
-- A history is the number of its events, six digits, and each event behind its time (sixteen digits) and size (ten).
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 max_events  6 max_bytes  7 event
-- RETURNS version
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- COST    O(N) in the bytes of the history
local call, args, tag = redis.call, ARGV, 'hn'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], 'e')
-- @include begin
local history = rec[4] or '000000'
local count = tonumber(string.match(history, '^%d%d%d%d%d%d'))
if not count then return redis.error_reply('RSCORRUPT history') end
-- By the clock: a version can be ahead of it.
local event = time[1] .. string.format('%06d', us) .. string.format('%010d', #args[7]) .. args[7]
local from, most = 7, tonumber(args[6])
while count > 0 and (count >= tonumber(args[5]) or #history - from + 1 + #event > most) do
  local size = string.match(history, '^%d%d%d%d%d%d%d%d%d%d', from + 16)
  if not size then return redis.error_reply('RSCORRUPT history') end
  from, count = from + 26 + size, count - 1
end
history = string.format('%06d', count + 1) .. string.sub(history, from) .. event
local answer = seq .. tag .. ' ' .. now
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, 'e', history)
-- @include finish
