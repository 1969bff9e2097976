-- Journal, fence, deadline and expected version: everything that can refuse a change, before anything is written.
-- Expects call, args, tag, and rec = {version, fence token, journal, ...}. Leaves op, seq, journal, version, now,
-- renewed, stamp.
-- The common case is one string comparison: operation numbers have ten digits and a journal begins with its newest.
local op, journal, version = args[2], rec[3], rec[1]
local seq = op
if #op > 10 then seq = string.sub(op, 1, 10) end
if not journal then
  -- @include permissions
elseif journal >= seq then
  if not string.find(journal, '^%d%d%d%d%d%d%d%d%d%d%a') then return redis.error_reply('RSCORRUPT journal') end
  local at = string.find(';' .. journal, ';' .. seq, 1, true)
  if at then
    local answer, done = string.match(journal, '^(%d+(%a+) [^;|]*)', at)
    if not done then return redis.error_reply('RSCORRUPT journal') end
    -- Its record was erased since.
    if done == 'er' then return redis.error_reply('RSSTALE journal') end
    if done ~= tag then return redis.error_reply('RSMISMATCH journal') end
    -- What stood before it is long gone; no record has such a version.
    answer = '9999999999999999' .. answer
    return answer
  end
  -- Not remembered and below the window: the caller was answered long ago, or gave up. It must not run now.
  if seq < (string.match(journal, '|(%d+)$') or string.sub(journal, 1, 10)) then
    if rec[2] and #rec[2] == 16 and args[4] ~= '' and string.sub(args[4], 17, 32) < rec[2] then
      return redis.error_reply('RSFENCED ' .. rec[2])
    end
    return redis.error_reply('RSSTALE journal')
  end
end
if version then
  -- Sixteen digits, within what a double counts exactly. (A pattern would cost four times as much.)
  local number = tonumber(version)
  if #version ~= 16 or not number or number < 1e15 or number > 9e15 or version < '1' then
    return redis.error_reply('RSCORRUPT version')
  end
  -- Whoever ends a conversation closes its fence, to owners and everybody else: it then is a character longer.
  if rec[2] and #rec[2] ~= 16 then return redis.error_reply('RSENDED fence') end
elseif args[3] == '-' then
  -- It would be in no index, and would stay here for ever: see conversation_begin.
  return redis.error_reply('RSUNBEGUN record')
end
local time = call('TIME')
local now, us = time[1], time[2]
-- Sixteen digits of microseconds, built from text: formatting a number this size costs twice as much.
if #us == 6 then now = now .. us else now = now .. string.sub('00000', #us) .. us end
local guards, renewed, stamp = args[4], nil, nil
if guards ~= '' then
  -- Sixteen digits of deadline, sixteen of fence, one letter (l: logged in, s: schema, b: both), eight digits of a
  -- schema's versions if there is one, then the expected version. Texts of one width compare as numbers do, and the
  -- first needs no cutting out: what follows it cannot turn the verdict.
  if guards < now then return redis.error_reply('RSDEADLINE passed') end
  if rec[2] and string.sub(guards, 17, 32) < rec[2] then return redis.error_reply('RSFENCED ' .. rec[2]) end
  local letter, at = string.sub(guards, 33, 33), 34
  if letter == 'l' or letter == 'b' then
    -- @include authenticated
  end
  if letter == 's' or letter == 'b' then
    -- @include schema_stamp
    at = 42
  end
  if #guards >= at then
    -- A deleted record keeps its version for the journal's sake, and counts as absent.
    local current = version or '0'
    if version and call('HGET', KEYS[1], 'd') == version then current = '0' end
    if string.sub(guards, at) ~= current then return redis.error_reply('RSCONFLICT ' .. current) end
  end
end
-- The clock stood still or went back: the version rises all the same.
if version and version >= now then now = string.format('%.0f', version + 1) end
