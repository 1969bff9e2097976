-- Expects rec = {version, fencing token, ...}. Refuses what the record of an owner cannot hold. Leaves closed: whether the
-- conversation has ended; rec[2] then is the token without its mark.
local closed = rec[2] and string.byte(rec[2]) == 126
if closed then rec[2] = string.sub(rec[2], 2) end
if rec[2] and (#rec[2] ~= 16 or string.find(rec[2], '%D')) then return redis.error_reply('RSCORRUPT fence') end
