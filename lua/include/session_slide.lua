-- Begins the idle time of a live session anew. Expects now and session. Leaves slid; nil where it has no idle time.
local slid
if string.sub(session, 49) ~= '0000000000000000' then
  slid = string.format('%016.0f', now + string.sub(session, 49)) .. string.sub(session, 17)
end
