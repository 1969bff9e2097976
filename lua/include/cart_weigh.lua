-- Whether large attributes fit into the record. Expects attributes, the line's quantity field in args[5], and most: the
-- cap on the record's bytes.
if #attributes * 1024 >= most then
  local grown = #attributes - call('HSTRLEN', KEYS[1], 'l' .. string.sub(args[5], 2))
  -- @include weigh
  if weight > most then return redis.error_reply('RSWEIGHT ' .. weight) end
end
