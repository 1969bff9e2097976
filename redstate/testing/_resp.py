"""Cuts a stream of Redis protocol (RESP2 and RESP3) into whole frames and keeps their bytes exactly as they came."""

from __future__ import annotations

from typing import cast

import hiredis

_CRLF = b"\r\n"
_BULK = ord("$")
_BULK_KINDS = frozenset(b"$=!")
_LINE_KINDS = frozenset(b"+-:_,#(")
_ATTRIBUTE = ord("|")
# How many values each announced item of an aggregate stands for.
_VALUES_PER_ITEM = {ord("*"): 1, ord("~"): 1, ord(">"): 1, ord("%"): 2, _ATTRIBUTE: 2}
_KINDS = _BULK_KINDS | _LINE_KINDS | frozenset(_VALUES_PER_ITEM)
_LONGEST_LINE = 65_536


class MalformedFrame(Exception):
    """The stream is not the protocol that servers and clients of Redis speak."""


class FrameSplitter:
    """Takes bytes as they arrive and gives back whole frames.

    A scan that ran out of bytes goes on where it stopped, so a frame is walked once however finely it is cut. Framing
    needs no tree: it is enough to count the values still owed by the aggregates that were opened.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._late: list[bytes] = []
        self._size = 0
        self._start = 0
        self._cursor = 0
        self._owed = 1

    def feed(self, data: bytes) -> None:
        """Adds received bytes."""
        self._late.append(data)
        self._size += len(data)

    def next_frame(self) -> bytes | None:
        """Returns the next whole frame, None if it has not arrived yet; raises MalformedFrame."""
        if self._late and self._size >= self._cursor:
            self._absorb()
        if self._cursor > len(self._buffer) or not self._scan():
            return None
        frame = self._buffer[self._start : self._cursor]
        self._start = self._cursor
        self._owed = 1
        return frame

    def take_rest(self) -> bytes:
        """Returns the bytes that belong to no finished frame, and forgets them."""
        self._absorb()
        rest = self._buffer
        self._buffer = b""
        self._size = self._cursor = 0
        self._owed = 1
        return rest

    def _absorb(self) -> None:
        self._buffer = b"".join((self._buffer[self._start :], *self._late))
        self._late.clear()
        self._cursor -= self._start
        self._start = 0
        self._size = len(self._buffer)

    def _scan(self) -> bool:
        buffer, cursor, owed = self._buffer, self._cursor, self._owed
        try:
            while owed:
                line_end = buffer.find(_CRLF, cursor)
                if line_end < 0:
                    _refuse_hopeless_line(buffer, cursor)
                    break
                kind = buffer[cursor]
                if kind in _BULK_KINDS:
                    owed -= 1
                    length = int(buffer[cursor + 1 : line_end])
                    cursor = line_end + 2 if length < 0 else line_end + length + 4
                elif kind in _LINE_KINDS:
                    owed -= 1
                    cursor = line_end + 2
                else:
                    items = max(int(buffer[cursor + 1 : line_end]), 0)
                    # An attribute comes before the value that it describes, so that value is still owed.
                    owed += items * _VALUES_PER_ITEM[kind] - (kind != _ATTRIBUTE)
                    cursor = line_end + 2
        except ValueError:
            raise MalformedFrame("a length is no number") from None
        except KeyError:
            raise MalformedFrame(f"a frame cannot start with byte {kind}") from None
        self._cursor, self._owed = cursor, owed
        return not owed and cursor <= len(buffer)


def _refuse_hopeless_line(buffer: bytes, cursor: int) -> None:
    if cursor < len(buffer) and buffer[cursor] not in _KINDS:
        raise MalformedFrame(f"a frame cannot start with byte {buffer[cursor]}")
    if len(buffer) - cursor > _LONGEST_LINE:
        raise MalformedFrame(f"a line exceeds {_LONGEST_LINE} bytes")


def first_bulk(frame: bytes) -> bytes:
    """Returns the first item of an aggregate, a command's name or a push's kind; b"" if it is no bulk string."""
    header = frame.find(_CRLF) + 2
    if header >= len(frame) or frame[header] != _BULK:
        return b""
    text = frame.find(_CRLF, header) + 2
    return frame[text : frame.find(_CRLF, text)]


def items_of(frame: bytes) -> list[bytes]:
    """Returns the items of a whole aggregate frame; those of a request are all bytes."""
    reader = hiredis.Reader()
    reader.feed(frame)
    return cast("list[bytes]", reader.gets())
