-- A writer's first change of this record: a user who lacks what comes after the write must be refused before it.
-- (Absent in servers that only imitate Redis.)
if redis.acl_check_cmd then
  if not redis.acl_check_cmd('PEXPIRE', KEYS[1], '1') then
    return redis.error_reply("NOPERM the user has no permissions to run the 'pexpire' command")
  end
  if not redis.acl_check_cmd('PUBLISH', KEYS[1], '') then
    return redis.error_reply("NOPERM the user has no permissions to run the 'publish' command on this channel")
  end
end
