-- The schema version that the state fits: the oldest of those that wrote it since it was raised, or was empty. Expects
-- guards, with the writer's version and the oldest that the writer can read. Leaves stamp: the version to set; nil where
-- it stays.
local own, fits = string.sub(guards, 34, 37), call('HGET', KEYS[1], 'y')
if fits and (#fits ~= 4 or string.find(fits, '%D')) then return redis.error_reply('RSCORRUPT schema') end
if fits ~= own then
  if (call('HGET', KEYS[1], 'k') or '') == '' then
    stamp = own
  elseif not fits then
    -- Written before there was a schema.
    stamp = string.sub(guards, 38, 41)
  elseif fits > own then
    stamp = own
  end
end
