-- due_register: have a conversation looked at later. One that is in the index stays for a while at least, so that it is
-- still there when its record begins; and the entry changes in any case, so that an archiver which is just through with
-- it lets it stand (see due_settle). Anyhow: also where the server is full, as what comes next makes room.
-- KEYS    1 index
-- ARGV    1 conversation_id  2 idle_us  3 hold_us  4 anyhow
-- RETURNS now
-- ERRORS
-- COST    O(log N) in the conversations of the index
local call, args = redis.call, ARGV
-- @include clock
if args[4] == '1' then call('ZREM', KEYS[1], '') end
local score, due = call('ZSCORE', KEYS[1], args[1]), now + args[2]
if score then due = math.max(tonumber(score) + 1, now + args[3]) end
call('ZADD', KEYS[1], string.format('%.0f', due), args[1])
local value = now
return value
