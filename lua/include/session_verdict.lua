-- Judges a session by the server's clock. Expects now and session (false where there is none).
-- Leaves verdict: live, out, idle, expired or corrupt.
-- A session is 64 digits: when its idle time ends, when it expires, since when it is, its idle time in microseconds.
local verdict = 'live'
if not session then
  verdict = 'out'
elseif #session ~= 64 or string.find(session, '%D') then
  verdict = 'corrupt'
elseif session < now or string.sub(session, 17) < now then
  -- Texts of one width compare as numbers do; what follows a number cannot turn the verdict.
  if session < string.sub(session, 17, 32) then verdict = 'idle' else verdict = 'expired' end
end
