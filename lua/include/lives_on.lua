-- The record lives ttl_ms from now on. One that is kept until it is archived ('-') has no expiry: there it is noted that
-- it is in use. Expects args = {ttl_ms, ...} and now.
if args[1] == '-' then
  call('HSET', KEYS[1], 'n', now)
  -- What was written before there was an archive is in no index yet: its expiry stays.
  if call('HEXISTS', KEYS[1], 'b') == 1 then call('PERSIST', KEYS[1]) end
else
  call('PEXPIRE', KEYS[1], args[1])
end
