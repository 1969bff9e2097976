-- Sets the mark of a hook. Expects call, args = {ttl_ms, hook_field, ...}, rec = {version, ...}, now and mark.
-- It is no content: the version stays, nothing is published, and a record that is absent or deleted remains so. And it
-- can be set again without harm, so no journal remembers it. A record that lives longer than ttl_ms goes on doing so:
-- the hook may have chosen that.
-- @include cache_expires
if rec[1] then
  call('HSET', KEYS[1], args[2], mark)
else
  call('HSET', KEYS[1], 'v', now, 'd', now, args[2], mark)
end
if call('PTTL', KEYS[1]) < tonumber(args[1]) then call('PEXPIRE', KEYS[1], args[1]) end
