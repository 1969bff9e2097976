-- Slides the expiry, tells whoever listens (version only, never a value), and answers what the journal recorded.
call('PEXPIRE', KEYS[1], args[3])
call('PUBLISH', KEYS[1], now)
return result
