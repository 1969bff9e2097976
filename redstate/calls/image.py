"""An image of a record: all of it at one version, and what tells how old that is by now."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from redstate import _keys, _scripts
from redstate._call import Changed, Query
from redstate.calls.record import Snapshot, snapshot_of, version_number

_READ = _scripts.load("record_read")

# What a field costs beside its bytes: two objects and its place in a dict, and its value once that was decoded
# (CPython 3.11, sys.getsizeof).
_FIELD_BYTES = 250
# For how many seconds the server's clock can be told from ours: they may drift, or be set.
_CLOCK_HOLDS = 30.0
_IMAGE_BYTES = 600


class Image:
    """A record as it was read. Nothing in it may be changed, and nothing of it that can be changed is handed out.

    Attributes:
        version: of the record; 0 where there is none, -1 where it has none that redstate wrote.
        received: when it had come, on this process's clock.
        since: when it was asked for, on this process's clock: it is no older than that.
        until: when the record will have expired, at the latest, on the same clock.
        fields: the hash, without journals and the marks of hooks.
        size: about how many bytes it takes in memory.
        values: decoded state fields that cannot be changed, so that they need not be decoded again.
        numbers: the same as live numbers, for whoever reads them by brackets.
        containers: the bytes of dicts and lists of nothing but such, texts and numbers, these decoded, and whether
            there are further ones inside: they are looked at and never handed out.
        kept: what lasts as long as the image does.
    """

    __slots__ = (
        "_asked",
        "_server_us",
        "_snapshot",
        "containers",
        "fields",
        "kept",
        "numbers",
        "received",
        "since",
        "size",
        "until",
        "values",
        "version",
    )

    def __init__(
        self, version: int, fields: dict[bytes, bytes], size: int, since: float, until: float, clocks: tuple[int, float]
    ) -> None:
        self.version = version
        self.fields = fields
        self.size = size
        self.since = since
        self.until = until
        self.values: dict[str, Any] = {}
        self.numbers: dict[str, Any] = {}
        self.kept: object = None
        self.containers: dict[str, tuple[bytes, Any, bool]] = {}
        # The server's clock in microseconds, and ours when it was asked.
        self._server_us, self._asked = clocks
        self.received = self._asked
        self._snapshot: Snapshot | None = None

    def tells_time(self, now: float) -> bool:
        """Whether the server's clock was seen lately enough to go by it."""
        return now - self._asked < _CLOCK_HOLDS

    def server_time_at_most(self, now: float) -> int:
        """The server's clock in microseconds at ``now`` of ours; ahead of it by a round trip at most, never behind."""
        return self._server_us + int((now - self._asked) * 1_000_000)

    def server_time_at_least(self, now: float) -> int:
        """The same; behind it by a round trip at most, never ahead."""
        return self._server_us + int((now - self.received) * 1_000_000)

    def snapshot(self, key: str) -> Snapshot:
        """The record by its parts. It is shared: nobody may change its dicts.

        Raises:
            CorruptState: it holds what redstate did not write.
        """
        found = self._snapshot
        if found is None:
            found = self._snapshot = snapshot_of(key, self.fields)
        return found

    def after(self, changed: Changed, version: int, since: float, ttl: float) -> Image:
        """The record after a change that was made on just this version.

        Args:
            changed: what it did.
            version: the record's since then.
            since: when the change was sent.
            ttl: seconds that the record lives since then.
        """
        fields, size = self.fields.copy(), self.size
        fields[b"v"] = b"%016d" % version
        memos = self.values.copy(), self.numbers.copy(), self.containers.copy()
        for name, value in changed.items():
            held = fields.pop(name, None) if value is None else fields.get(name)
            if held is not None:
                size -= _size_of(name, held)
            if value is not None:
                fields[name] = value
                size += _size_of(name, value)
            if name[:1] == _keys.STATE_BYTES:
                field = name[1:].decode()
                for memo in memos:
                    memo.pop(field, None)
        new = Image(version, fields, size, since, since + ttl, (self._server_us, self._asked))
        new.values, new.numbers, new.containers = memos
        new.kept, new.received = self.kept, self.received
        return new

    # What an audit compares

    def audit(self, key: str) -> tuple[str, ...]:
        """The command that reads what the image was made of."""
        return ("HGETALL", key)

    def agrees(self, found: Mapping[bytes, bytes] | None) -> bool:
        """Whether the record still is what the image shows, and a hash at all (None).

        What changes without a new version does not count.
        """
        if found is not None and self.version == 0:
            return found.get(b"v") == found.get(b"d")  # nothing, or what is left of something
        return found is not None and _versioned(found) == _versioned(self.fields)


def read(key: str, since: float) -> Query[Image]:
    """The whole record in one atomic read; ``since`` is the time before it is sent, on this process's clock."""

    def parse(reply: list[bytes]) -> Image:
        now, ttl_ms = int(reply[0]), int(reply[1])
        fields = dict(zip(reply[2::2], reply[3::2], strict=True))
        until = since + ttl_ms / 1000 if ttl_ms >= 0 else math.inf
        size = _IMAGE_BYTES + sum(map(len, reply)) + len(fields) * _FIELD_BYTES
        return Image(version_number(fields.get(b"v")), fields, size, since, until, (now, since))

    return Query(key, (*_READ.evalsha, key), parse, script=_READ)


def _size_of(name: bytes, value: bytes) -> int:
    return len(name) + len(value) + _FIELD_BYTES


def _versioned(fields: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Without journals, marks of hooks, and the session's idle time, which slides."""
    kept = {name: value for name, value in fields.items() if name[0] not in _keys.UNVERSIONED}
    if b"u" in kept:
        kept[b"u"] = kept[b"u"][16:]
    return kept
