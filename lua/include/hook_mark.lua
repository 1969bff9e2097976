-- Sets the mark of a hook. Expects call, args = {ttl_ms, hook_field, ...}, rec = {version, ...}, now and mark.
-- It is no content: the version stays, nothing is published, and a record that is absent or deleted remains so. And it
-- can be set again without harm, so no journal remembers it. (A longer life the hook may have chosen.)
-- @include may_expire
if not rec[1] and args[1] == '-' then return redis.error_reply('RSUNBEGUN record') end
if rec[1] then
  call('HSET', KEYS[1], args[2], mark)
else
  call('HSET', KEYS[1], 'v', now, 'd', now, args[2], mark)
end
-- @include expires_later
