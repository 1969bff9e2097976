"""How calls reach the server: one multiplexed connection for asyncio, pooled blocking sockets for threads.

Both offer the same: a deadline on every call, replies that are never mispaired, NOSCRIPT healed by loading the one
script and sending the one call again, reconnection with backoff, and a bound on what waits. A call that was sent and
not answered is sent again, unchanged: its operation id makes that safe. redis-py is used for none of it.
"""
