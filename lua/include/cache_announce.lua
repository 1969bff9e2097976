-- Tells whoever keeps a copy that it is one of the past. No version: an entry of the cache has none, and is just dropped.
call('PUBLISH', KEYS[1], '')
