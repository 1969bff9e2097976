"""Turns what a tool returned into plain data that JSON can carry.

The SDK encodes an answer while it sends it, and takes a value that it cannot encode for a broken
connection. So answers are made plain before they reach it.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

from redstate.errors import TooLarge, UnsupportedValue
from redstate.live.mapping import LiveMapping
from redstate.live.values import LiveList

# json.dumps recurses in C and gives up at about a thousand levels; a cycle ends here as well.
MAX_DEPTH = 200

_NEXT_STEP = "Return plain data from the tool: numbers, text, lists and dicts"


class StillLive(Exception):
    """The value has live state in it, which has to be read first. It never leaves the package."""


def json_safe(value: Any, path: str = "$", depth: int = 0, *, may_read: bool = False) -> Any:
    """Return ``value`` as plain data, built of new containers.

    Decimal, UUID and paths become text, dates and times ISO 8601 text, a timedelta its seconds, sets and
    tuples lists, an Enum its value, dataclasses and pydantic models dicts.

    Args:
        value: what a tool returned.
        path: where the value stands in the whole, for errors.
        depth: how many containers surround it.
        may_read: whether live state in it may be read from the server now, which blocks.

    Raises:
        StillLive: there is live state in it, and it may not be read now.
        UnsupportedValue: something inside has no JSON form; names its type and its path.
        TooLarge: nested deeper than ``MAX_DEPTH`` levels, or a cycle.
    """
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        raise _unsupported(value, path)
    text = _scalar(value)
    if text is not None:
        return text
    if isinstance(value, (LiveMapping, LiveList)):
        if not may_read:
            raise StillLive
        value = value.copy()
    return _container(value, path, depth, may_read)


def _scalar(value: Any) -> str | float | None:
    if isinstance(value, (Decimal, UUID, PurePath)):
        return str(value)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return None


def _container(value: Any, path: str, depth: int, may_read: bool) -> Any:
    if depth >= MAX_DEPTH:
        raise TooLarge(
            f"the result is nested deeper than {MAX_DEPTH} levels, or contains itself",
            next_step=_NEXT_STEP,
            path=path[:200],
            limit=MAX_DEPTH,
            actual=None,
            unit="levels",
        )
    if isinstance(value, (list, tuple, set, frozenset, deque)):
        return [json_safe(item, f"{path}[{index}]", depth + 1, may_read=may_read) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        return {
            _key(key, path): json_safe(item, f"{path}.{key}", depth + 1, may_read=may_read)
            for key, item in value.items()
        }
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return json_safe(fields, path, depth + 1, may_read=may_read)
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return json_safe(dump(), path, depth + 1, may_read=may_read)
    raise _unsupported(value, path)


def _key(key: Any, path: str) -> Any:
    if isinstance(key, Enum):
        key = key.value
    if key is None or isinstance(key, (str, bool, int)) or (isinstance(key, float) and math.isfinite(key)):
        return key
    text = _scalar(key)
    if isinstance(text, str):
        return text
    raise _unsupported(key, f"{path} (as a key)")


def _unsupported(value: Any, path: str) -> UnsupportedValue:
    kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
    detail = " that is not finite" if isinstance(value, float) else ""
    return UnsupportedValue(
        f"the result holds a {kind}{detail} at {path}, which JSON cannot carry",
        next_step=_NEXT_STEP,
        path=path,
        value_type=kind,
    )
