-- Expects rec = {version, fencing token, ...}. Refuses what the record of an owner cannot hold.
if rec[2] and (#rec[2] ~= 16 or string.find(rec[2], '%D')) then return redis.error_reply('RSCORRUPT fence') end
