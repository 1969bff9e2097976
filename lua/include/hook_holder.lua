-- Who has a hook. Expects rec = {version, mark, token}; the mark of a lease is sixteen digits of microseconds, when it
-- ends, and who has it: the token of its owner, and a name. Leaves holder, nil where nobody has begun the hook or it is done.
if rec[3] and #rec[3] == 17 then rec[3] = string.sub(rec[3], 2) end  -- the conversation has ended
local holder = nil
if rec[2] and rec[2] ~= 'done' then
  holder = string.match(rec[2], '^%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d (%x+)$')
  if not holder then return redis.error_reply('RSCORRUPT hook') end
end
