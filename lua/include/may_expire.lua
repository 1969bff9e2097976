-- A user who may not set an expiry is refused before the first write: no key may stay for ever.
-- (acl_check_cmd is absent in servers that only imitate Redis.)
if redis.acl_check_cmd and not redis.acl_check_cmd('PEXPIRE', KEYS[1], '1') then
  return redis.error_reply("NOPERM the user has no permissions to run the 'pexpire' command")
end
