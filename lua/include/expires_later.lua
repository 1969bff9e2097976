-- A record that lives longer than ttl_ms goes on doing so. Expects args = {ttl_ms, ...}.
if call('PTTL', KEYS[1]) < tonumber(args[1]) then call('PEXPIRE', KEYS[1], args[1]) end
