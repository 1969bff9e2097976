"""Copies of records in local memory: bounded, kept right by pub/sub, and never served when older than agreed.

A copy is served only if three things hold at that moment, on this process's clock: it was asked for less than D ago;
the record has not expired; and the last heartbeat that came back through the server was sent less than D ago. The
heartbeat travels the way of the invalidations, so whatever was changed before it was sent has been heard of by then.
"""
