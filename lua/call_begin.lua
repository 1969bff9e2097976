-- call_begin: begin a tool call of a conversation, or tell what has become of it. A call that an owner of old began and
-- did not finish begins again, and what it has changed already stays in its journal, which is that of a writer whose
-- operations stay. Beside it lies who runs the call: token of the owner, attempt, how many times it was begun, since
-- when, and what was asked for. One whose owners all died of it is spent.
-- KEYS    1 record
-- ARGV    1 ttl_ms  2 journal  3 run_field  4 token  5 runs_under  6 attempt  7 most  8 age_us  9 tries  10 request
-- RETURNS verdict now_or_finished answer
-- ERRORS  RSFENCED RSENDED RSUNBEGUN RSCORRUPT
-- COST    O(1); in the calls remembered, once they are as many as there may be
local call, args = redis.call, ARGV
local rec = call('HMGET', KEYS[1], 'v', 'f', args[2], 'q', args[3])
-- @include fence
if not rec[1] and args[1] == '-' then return redis.error_reply('RSUNBEGUN record') end
if rec[2] and args[4] < rec[2] then return redis.error_reply('RSFENCED ' .. rec[2]) end
-- @include clock
-- @include may_expire
local journal, run = rec[3], args[5] .. ' ' .. args[6] .. ' '
local value, written
if journal and string.sub(journal, 1, 13) == '9999999999cd ' then
  value = 'done ' .. string.sub(journal, 14, -12)
elseif journal then
  -- @include call_run
  local mine = token == args[5] and attempt == args[6]
  if not mine and args[6] ~= '0' and token < args[4] then
    tries = tries + 1
    call('HSET', KEYS[1], args[3], run .. string.format('%d', tries) .. ' ' .. since)
    mine, written = true, true
  end
  -- The same where it is asked again, as the answer was lost. (One that was left to this owner has no tries before.)
  tries = tonumber(tries)
  value = (not mine and 'wait ') or (tries > tonumber(args[9]) and 'spent ') or (tries > 1 and 'again ') or 'run '
  value = value .. now
elseif closed then
  return redis.error_reply('RSENDED fence')
else
  local pens, dropped, oldest = rec[4] or '', {}, string.format('%.0f', now - args[8])
  -- @include calls_forgotten
  if #pens >= 16 * args[7] then
    value = 'full ' .. now
  else
    local begun = '1000000000cb ' .. now .. '|1000000000'
    pens, run = pens .. string.sub(args[2], 2), run .. (args[6] == '0' and '0 ' or '1 ') .. now .. ' ' .. args[10]
    if rec[1] then
      call('HSET', KEYS[1], args[2], begun, 'q', pens, args[3], run, 'n', now)
    else
      call('HSET', KEYS[1], 'v', now, 'd', now, args[2], begun, 'q', pens, args[3], run)
    end
    if dropped[1] then call('HDEL', KEYS[1], unpack(dropped)) end
    value, written = 'run ' .. now, true
  end
end
if written then
  -- @include expires_later
end
return value
