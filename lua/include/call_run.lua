-- Who runs a tool call. Expects rec[5]. Leaves token, attempt, tries, and since: when it began, and what was asked for.
local token, attempt, tries, since = string.match(rec[5] or '', '^(%d+) (%x+) (%d+) (%d+ .*)$')
if not token or #token ~= 16 then return redis.error_reply('RSCORRUPT journal') end
