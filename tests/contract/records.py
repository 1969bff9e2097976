"""A record as the server holds it."""

from __future__ import annotations

import redis

from redstate.nearcache.shared import NearCache


class Record:
    """A record's bytes as they lie in the server.

    Args:
        raw: the server, past redstate.
        key: the record.
        nearcache: what the store under test keeps in memory, to be cleared when the record is changed past it.
    """

    def __init__(self, raw: redis.Redis, key: str, nearcache: NearCache | None = None) -> None:
        self.raw = raw
        self.key = key
        self._nearcache = nearcache

    def poke(self, field: str, value: bytes | str) -> None:
        """Change the record past redstate, and have the store see it."""
        self.raw.hset(self.key, field, value)
        if self._nearcache is not None:
            self._nearcache.clear()

    def fields(self, kind: str = "") -> dict[bytes, bytes]:
        """Its fields, or those of one kind: "s" state, "c" cart lines, "j" journals."""
        found: dict[bytes, bytes] = self.raw.hgetall(self.key)
        return {name: value for name, value in found.items() if name.startswith(kind.encode())}

    def image(self) -> tuple[object, bool]:
        """Everything that a refused change must leave alone. The expiry only runs down, so whether there is one."""
        is_hash = self.raw.type(self.key) == b"hash"
        content: object = self.raw.hgetall(self.key) if is_hash else self.raw.dump(self.key)
        return content, self.raw.pttl(self.key) > 0
