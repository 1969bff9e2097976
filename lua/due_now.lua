-- due_now: have a conversation that has just ended looked at as soon as an archiver can. A word that comes late is no
-- use: by then it may have left, and somebody be about to begin it anew, who counts on the entry (see due_register).
-- KEYS    1 index
-- ARGV    1 conversation_id  2 deadline_us
-- RETURNS noted
-- ERRORS
-- COST    O(log N) in the conversations of the index
-- @include clock
local value = '0'
if ARGV[2] >= now then
  -- First a write that a full server takes. (No id is empty.)
  redis.call('ZREM', KEYS[1], '')
  redis.call('ZADD', KEYS[1], now, ARGV[1])
  value = '1'
end
return value
