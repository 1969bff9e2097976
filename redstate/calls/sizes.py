"""What a conversation consists of, by size: where to look when it grows towards a cap."""

from __future__ import annotations

from dataclasses import dataclass

from redstate._call import Query
from redstate._codec import Limits

_KINDS = {
    "s": "state",
    "c": "cart line",
    "p": "cart line",
    "a": "cart line",
    "l": "cart line",
    "o": "order",
    "w": "workflow",
    "W": "workflow",
    "u": "session",
    "i": "journal",
    "j": "journal",
    "q": "journal",
    "Q": "journal",
    "h": "hook",
}
_JOURNAL, _OWN = "journal", "record"


@dataclass(frozen=True, slots=True)
class FieldSize:
    """One field. ``kind`` is "state", "cart line", "workflow", ...; ``size`` counts name and value, in bytes."""

    kind: str
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class SizeReport:
    """The sizes of a conversation; ``print`` shows it as a table, where what is not in the total is marked.

    Attributes:
        fields: largest first; the parts of a cart line or a workflow are one field, and all journals are one.
        total: bytes of all fields, the journals apart; what ``max_conversation_bytes`` caps.
        limit: that cap.
    """

    fields: tuple[FieldSize, ...]
    total: int
    limit: int

    def __str__(self) -> str:
        lines = [f"{self.total:>12,} of {self.limit:,} bytes"]
        for field in self.fields:
            mark = " (not counted)" if field.kind == _JOURNAL else ""
            lines.append(f"{field.size:>12,}  {field.kind:<10} {field.name}{mark}")
        return "\n".join(lines)


def report(limits: Limits, key: str, top: int | None) -> Query[SizeReport]:
    """The sizes of a record's fields, the ``top`` largest or all."""

    def parse(reply: list[bytes]) -> SizeReport:
        sizes: dict[tuple[str, str], int] = {}
        for field, value in zip(reply[::2], reply[1::2], strict=True):
            named = _named(field.decode("utf-8", "replace"))
            sizes[named] = sizes.get(named, 0) + len(field) + len(value)
        fields = [FieldSize(*named, size) for named, size in sizes.items()]
        fields.sort(key=lambda field: (-field.size, field.name))
        total = sum(field.size for field in fields if field.kind != _JOURNAL)
        return SizeReport(tuple(fields[:top]), total, limits.max_conversation_bytes)

    return Query(key, ("HGETALL", key), parse)


def _named(field: str) -> tuple[str, str]:
    kind = _KINDS.get(field[0])
    if kind == _JOURNAL:
        return kind, "journals of all writers"
    if kind is None or (len(field) == 1 and kind != "session"):
        return _OWN, {"v": "version", "k": "order of the fields"}.get(field, field)
    return kind, "session" if kind == "session" else field[1:]
