-- A state field that was not there: it comes last in the order of the fields. Expects its name in args[5].
local order = call('HGET', KEYS[1], 'k') or ''
call('HSET', KEYS[1], 'k', order .. string.char(#args[5] - 2) .. string.sub(args[5], 2))
