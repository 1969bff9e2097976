-- Notes an operation that changes nothing: the version stays, and nobody is told. Expects what journal leaves; returns.
if version then
  call('HSET', KEYS[1], args[1], entry)
else
  call('HSET', KEYS[1], 'v', now, 'd', now, args[1], entry)
end
if evicted[1] then call('HDEL', KEYS[1], unpack(evicted)) end
if args[3] ~= '-' and call('PTTL', KEYS[1]) < tonumber(args[3]) then call('PEXPIRE', KEYS[1], args[3]) end
answer = '9999999999999999' .. answer
