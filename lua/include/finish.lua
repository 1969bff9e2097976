-- Slides the expiry, tells whoever listens (the version only, never a value), and answers what the journal recorded, led
-- by the version that the change was made on: who holds an image of that one can make the change there, too.
-- After the writes: PEXPIRE counts as one, and a script that has written is no longer refused when memory is full.
if evicted[1] then call('HDEL', KEYS[1], unpack(evicted)) end
-- '-': it is kept until it is archived, also where a claim or somebody without an archive had set an expiry.
if args[3] == '-' then call('PERSIST', KEYS[1]) else call('PEXPIRE', KEYS[1], args[3]) end
-- The change was one of a user who is logged in (see authenticated), and may have ended that.
if renewed and call('HEXISTS', KEYS[1], 'u') == 1 then call('HSET', KEYS[1], 'u', renewed) end
if stamp then call('HSET', KEYS[1], 'y', stamp) end
call('PUBLISH', KEYS[1], now)
answer = (version or '0000000000000000') .. answer
return answer
