-- workflow_read: a workflow's header and data with the version of the record (sixteen digits) and the server's time in
-- microseconds, all of one moment.
-- KEYS    1 record
-- ARGV    1 header_field  2 data_field
-- RETURNS version now header_bytes header_and_data
-- ERRORS
-- COST    O(1)
local rec = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[2], 'v')
local time = redis.call('TIME')
local header, data = rec[1] or '', rec[2] or ''
local version = rec[3]
-- @include record_version
return '' .. version .. string.format('%s%06d %d ', time[1], tonumber(time[2]), #header) .. header .. data
