-- Leaves now: sixteen digits of microseconds of server time. Texts of one width compare as numbers do.
local time = call('TIME')
local now = time[1] .. string.rep('0', 6 - #time[2]) .. time[2]
