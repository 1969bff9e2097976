-- Expects rec = {value, id, tags, fresh until, ...}. Refuses an entry that redstate did not write; its value is opaque.
if rec[1] then
  if not rec[2] or not string.find(rec[2], '^%x+$') or #rec[2] ~= 32 or not rec[3] or string.find(rec[3], ' ', 1, true)
    or not rec[4] or #rec[4] ~= 16 or string.find(rec[4], '%D') then
    return redis.error_reply('RSCORRUPT entry')
  end
end
