"""What the tests of this folder look at, past the store under test: records, the index, rows; and a sweeper."""

from __future__ import annotations

import asyncio
from typing import Any

import redis
import servers

from redstate import AsyncStore
from redstate._keys import conversation_key
from redstate.archive.figures import SweepFigures
from redstate.archive.interface import ArchiveRow
from redstate.archive.sql import SqlArchive
from redstate.archive.sweeper import Sweeper


class Lives:
    """The lives of the conversations of one prefix."""

    def __init__(self, url: str, prefix: str, path: str, raw: redis.Redis) -> None:
        self.url, self.prefix, self.path, self.raw = url, prefix, path, raw

    def sweep(self, lease: float = 60.0, **options: Any) -> SweepFigures:
        """See to all that is due, with a store of those options. Returns what was done."""
        options = {"archive": self.path, "tombstone_ttl": 30.0, **options}

        async def swept() -> SweepFigures:
            async with AsyncStore.from_url(self.url, key_prefix=self.prefix, **options) as store:
                sweeper = Sweeper(store, lease=lease)
                await sweeper.sweep()
                return sweeper.figures

        return asyncio.run(swept())

    def record(self, conversation_id: str) -> dict[bytes, bytes]:
        """All fields of a record."""
        return dict(self.raw.hgetall(conversation_key(self.prefix, conversation_id)))

    def poke(self, conversation_id: str, field: str | bytes, value: bytes) -> None:
        """Change a field past redstate."""
        self.raw.hset(conversation_key(self.prefix, conversation_id), field, value)

    def index(self) -> dict[str, float]:
        """The entries of all parts of the index, by id."""
        parts = [f"{self.prefix}:{{due:{part:02d}}}" for part in range(64)]
        return {name.decode(): score for key in parts for name, score in self.raw.zrange(key, 0, -1, withscores=True)}

    def keys(self) -> set[str]:
        """What lies in the server, but customers."""
        found = self.raw.scan_iter(f"{self.prefix}:*", count=10_000)
        return {key.decode() for key in found if b"{cust:" not in key}

    def rows(self) -> list[ArchiveRow]:
        """All that is in the archive."""
        with SqlArchive(self.path) as archive:
            return list(archive.rows())

    def nothing_left(self, **options: Any) -> None:
        """Sweep until there is no entry in the index and no record but tombstones; and have their time be over."""
        servers.wait_until(lambda: self.sweep(**options) and not self.index(), "everything has left")
        for key in self.keys():
            assert b" archived " in self.raw.hget(key, "x")
            assert self.raw.pttl(key) > 0
            self.raw.delete(key)
