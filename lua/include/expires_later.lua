-- A record that lives longer than ttl_ms goes on doing so. Expects args = {ttl_ms, ...}; '-' leaves it as it is.
if args[1] ~= '-' and call('PTTL', KEYS[1]) < tonumber(args[1]) then call('PEXPIRE', KEYS[1], args[1]) end
