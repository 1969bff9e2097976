-- The server's clock: sixteen digits of microseconds. Leaves now.
local time = redis.call('TIME')
local now = time[1] .. string.format('%06d', time[2])
