-- A user who may not do what comes later is refused before anything begins: it would be half done, or stay for ever.
-- (acl_check_cmd is absent in servers that only imitate Redis.)
if redis.acl_check_cmd then
  if not redis.acl_check_cmd('PERSIST', KEYS[1]) then
    return redis.error_reply("NOPERM the user has no permissions to run the 'persist' command")
  end
  if not redis.acl_check_cmd('DEL', KEYS[1]) then
    return redis.error_reply("NOPERM the user has no permissions to run the 'del' command")
  end
end
