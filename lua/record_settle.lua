-- record_settle: put an end to an operation whose outcome is not known. If it ran, the journal says so (it is another
-- verb's, RSMISMATCH); if it did not, its place in the journal is taken, and it never will. No change of the record: its
-- version stays, and nobody is told.
-- KEYS    1 record
-- ARGV    1 writer  2 op  3 ttl_ms  4 guards
-- RETURNS version applied
-- ERRORS  RSMISMATCH RSSTALE RSFENCED RSENDED RSUNBEGUN RSDEADLINE RSLOGIN RSCONFLICT RSCORRUPT
-- COST    O(1)
local call, args, tag = redis.call, ARGV, 'rs'
local rec = call('HMGET', KEYS[1], 'v', 'f', args[1])
-- What begin leaves for finish is of no use where nothing is changed.
-- luacheck: ignore renewed stamp
-- @include begin
local answer = seq .. tag .. ' ' .. now .. ' 0'
-- @include journal
-- @include journal_alone
return answer
