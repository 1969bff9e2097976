-- A user who may not do what comes later is refused before anything begins: it would be half done, or stay for ever.
-- (acl_check_cmd is absent in servers that only imitate Redis.)
if redis.acl_check_cmd then
  for _, command in ipairs({'PERSIST', 'DEL'}) do
    if not redis.acl_check_cmd(command, KEYS[1]) then
      return redis.error_reply("NOPERM the user has no permissions to run the '" .. string.lower(command) .. "' command")
    end
  end
end
