-- A user who may not publish is refused before the first write: a copy that nobody is told of would be served on.
-- (acl_check_cmd is absent in servers that only imitate Redis.)
if redis.acl_check_cmd and not redis.acl_check_cmd('PUBLISH', KEYS[1], '') then
  return redis.error_reply("NOPERM the user has no permissions to run the 'publish' command on this channel")
end
