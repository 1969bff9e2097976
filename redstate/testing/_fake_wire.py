"""What fakeredis answers → the bytes that a server would have sent."""

from __future__ import annotations

import re
from typing import Any

# Codes that redis-py has no class for, and leaves in the text; all else began with ERR.
_CODE = re.compile(r"(RS[A-Z]+|WRONGTYPE) ")


def framed(reply: Any) -> bytes:
    """One reply in wire form; a map only comes where the client asked for RESP3."""
    if reply is None:
        return b"$-1\r\n"
    if isinstance(reply, Exception):
        return f"-{_error(reply)}\r\n".encode()
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, (list, tuple)):
        return b"*%d\r\n" % len(reply) + b"".join(map(framed, reply))
    if isinstance(reply, dict):
        return b"%%%d\r\n" % len(reply) + b"".join(framed(key) + framed(value) for key, value in reply.items())
    data = reply if isinstance(reply, bytes) else str(reply).encode()
    return b"$%d\r\n%s\r\n" % (len(data), data)


def _error(error: Exception) -> str:
    """The line of an error: fakeredis hands over redis-py's exceptions, which lack the codes that those know."""
    from redis import ResponseError
    from redis.connection import DefaultParser

    text = " ".join(str(error).split())
    if not isinstance(error, ResponseError):
        return f"ERR fakeredis failed with {type(error).__name__}"
    for code, known in DefaultParser.EXCEPTION_CLASSES.items():
        if known is type(error):
            return f"{code} {text}"
    return text if _CODE.match(text) else f"ERR {text}"
