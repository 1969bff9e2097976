-- workflow_change: move a workflow or store what it collected, if it is still as its reader saw it and in time.
-- The header is: revision, started, entered and deadline (sixteen digits each), a letter for running, finished or
-- cancelled, the step; then ;<time><letter><from>><to> for each of the last 50 transitions. The data is opaque.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards  5 header  6 body  7 target  8 seen  9 move  10 timing  11 data  12 fields  13 bytes
-- RETURNS version step
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- ERRORS  RSMOVED RSOVERDUE RSFIELDS RSWEIGHT
-- COST    O(1); O(N) in the fields of the record where it is nearly full, or the data large
-- Header and body name the two fields; seen is the revision that was read. The target is a letter for the handle's
-- verb, so that a repeat must name the same, then the header's letter and the step. The timing is t where the present
-- step's deadline is to be judged, then the new step's limit in microseconds (0 for none), or nothing to stay. Fields
-- and bytes are caps.
local call, args, tag = redis.call, ARGV, 'w' .. string.sub(ARGV[7], 1, 1)
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1], args[5])
-- @include begin
local header, limit = rec[4], string.match(args[10], '%d+')
-- By the clock: a version can be ahead of it, and time limits are judged by the clock.
local clock = time[1] .. string.format('%06d', us)
local started, entered, deadline, history = clock, clock, '9999999999999999', ''
if header then
  if not string.find(header, '^%d+[rfc][%w_]+') or not string.find(header, '^%a', 65) then
    return redis.error_reply('RSCORRUPT workflow')
  end
  if string.sub(header, 1, 16) ~= args[8] then return redis.error_reply('RSMOVED workflow') end
  if string.sub(args[10], 1, 1) == 't' and string.sub(header, 49, 64) < clock then
    return redis.error_reply('RSOVERDUE workflow')
  end
  if tag ~= 'ws' then started = string.sub(header, 17, 32) end
  if not limit then entered, deadline = string.sub(header, 33, 48), string.sub(header, 49, 64) end
  history = string.match(header, ';.*') or ''
elseif args[8] ~= '' then
  return redis.error_reply('RSMOVED workflow')
elseif call('HLEN', KEYS[1]) >= tonumber(args[12]) then
  -- @include held
  if held >= tonumber(args[12]) then return redis.error_reply('RSFIELDS record') end
end
if #args[11] * 1024 >= tonumber(args[13]) then
  local grown = #args[11] - call('HSTRLEN', KEYS[1], args[6])
  -- @include weigh
  if weight > tonumber(args[13]) then return redis.error_reply('RSWEIGHT ' .. weight) end
end
if limit and limit ~= '0' then deadline = string.format('%.0f', clock + limit) end
if args[9] ~= '' then
  history = history .. ';' .. clock .. args[9]
  local _, count = string.gsub(history, ';', '')
  if count > 50 then history = string.match(history, ';.-(;.*)') end
end
local answer = seq .. tag .. ' ' .. now .. ' ' .. string.sub(args[7], 3)
header = now .. started .. entered .. deadline .. string.sub(args[7], 2) .. history
-- @include journal
call('HSET', KEYS[1], 'v', now, args[1], entry, args[5], header, args[6], args[11])
-- @include finish
