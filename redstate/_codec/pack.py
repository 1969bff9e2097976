"""From values to what orjson writes exactly.

Plain values (JSON's own types) are written as they are. Everything else becomes ``{"~": [tag, ...]}``, and a dict that
has "~" among its keys is tagged too, so that it cannot be mistaken for one of ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from math import inf, isfinite
from types import NoneType
from typing import Any

from redstate._codec import scalars
from redstate._codec.classes import Shape, shape_of
from redstate._codec.limits import Limits
from redstate._codec.refusals import Excess, Refusal, Unsupported

TAG = "~"
_SCALARS = frozenset({str, int, bool, float, NoneType, *scalars.BY_TYPE})


def is_plain(root: dict[Any, Any] | list[Any], limits: Limits) -> bool:
    """Whether orjson would write this as it is, within the limits on depth and items.

    Three things are left to orjson, which refuses them: keys that are no str, lone surrogates, ints beyond 64 bits.
    False only means that pack() has to look closer.
    """
    items, characters = limits.max_items, limits.max_value_bytes
    level: list[Any] = [root]
    for _ in range(limits.max_depth):
        deeper: list[Any] = []
        for container in level:
            items -= len(container)
            if items < 0:
                return False
            for item in container.values() if type(container) is dict else container:
                kind = type(item)
                if kind is str:
                    characters -= len(item)
                elif kind is int or kind is bool or item is None:
                    continue
                elif kind is dict or kind is list:
                    deeper.append(item)
                elif kind is not float or not -inf < item < inf:
                    return False
        if not deeper or characters < 0:
            return characters >= 0
        level = deeper
    return False


def pack(value: Any, path: str, limits: Limits) -> Any:
    """Return a copy of a value in which everything that is not JSON's own is tagged.

    Raises:
        UnsupportedValue, TooLarge: see Codec.encode.
    """
    try:
        return _Packer(limits).pack(value)
    except Refusal as refusal:
        error = refusal.as_error(path)
    # Raised out here, so that no context drags values into a report.
    raise error


class _Packer:
    """One pass over one value; counts what it meets and remembers which containers it is in."""

    __slots__ = ("_ancestors", "_characters", "_items", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._items = 0
        self._characters = 0
        self._ancestors: list[Any] = []

    def pack(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind is bool or value is None:
            return value
        if kind is float:
            if not isfinite(value):
                raise Unsupported(float, "is not a finite number")
            return value
        if kind is int:
            return value if -(2**63) <= value < 2**64 else self._scalar(scalars.BIG_INT, value)
        scalar = scalars.BY_TYPE.get(kind)
        return self._container(kind, value) if scalar is None else self._scalar(scalar, value)

    def _text(self, text: str) -> str:
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise Unsupported(str, "has a lone surrogate, which UTF-8 cannot hold") from None
        self._grow(len(text))
        return text

    def _scalar(self, scalar: scalars.Scalar, value: Any) -> dict[str, Any]:
        written = scalar.write(value)
        if type(written[0]) is str:
            self._grow(len(written[0]))
        return {TAG: [scalar.tag, *written]}

    def _container(self, kind: type, value: Any) -> Any:
        write = _BUILTINS.get(kind)
        if write is None:
            return self._instance(kind, value)
        self._enter(value)
        packed = write(self, value)
        self._ancestors.pop()
        return packed

    def _instance(self, kind: type, value: Any) -> Any:
        as_plain = getattr(kind, "__redstate_plain__", None)
        if as_plain is not None:
            return self.pack(as_plain(value))
        shape = shape_of(kind)
        if shape is None:
            raise Unsupported(kind)
        if shape.kind == "enum" and type(value._value_) in _SCALARS:
            return {TAG: ["enum", shape.name, self.pack(value._value_)]}
        self._enter(value)
        if shape.kind == "enum":
            state = [self._mapping({"value": value._value_})["value"]]
        elif shape.kind == "model":
            state = self._model(value, shape)
        else:
            state = [self._mapping(_attributes(value, shape))]
        self._ancestors.pop()
        return {TAG: [shape.kind, shape.name, *state]}

    def _model(self, value: Any, shape: Shape) -> list[Any]:
        state = shape.base.__getstate__(value)
        _require(shape, state["__dict__"])
        extra, private = state.get("__pydantic_extra__"), state.get("__pydantic_private__")
        return [
            self._mapping(state["__dict__"]),
            self._sequence(sorted(state["__pydantic_fields_set__"])),
            None if extra is None else self._mapping(extra),
            None if private is None else self._mapping(private),
        ]

    def _dict(self, value: dict[Any, Any]) -> dict[str, Any]:
        self._count(len(value))
        if TAG not in value and all(type(key) is str for key in value):
            return self._pairs(value)
        self._count(len(value))  # the keys are values of their own now
        packed: list[Any] = ["map"]
        step = ""
        try:
            for key, item in value.items():
                step = "{key}"
                packed.append(self.pack(key))
                step = step_text(key)
                packed.append(self.pack(item))
        except Refusal as refusal:
            refusal.steps.append(step)
            raise
        return {TAG: packed}

    def _list(self, value: list[Any]) -> list[Any]:
        return self._sequence(value)

    def _tuple(self, value: tuple[Any, ...]) -> dict[str, Any]:
        return {TAG: ["tuple", *self._sequence(value)]}

    def _set(self, value: set[Any]) -> dict[str, Any]:
        return {TAG: ["set", *self._sequence(value, "{item}")]}

    def _frozenset(self, value: frozenset[Any]) -> dict[str, Any]:
        return {TAG: ["frozenset", *self._sequence(value, "{item}")]}

    def _sequence(self, values: Collection[Any], step: str | None = None) -> list[Any]:
        self._count(len(values))
        packed: list[Any] = []
        try:
            packed.extend(map(self.pack, values))
        except Refusal as refusal:
            refusal.steps.append(step or f"[{len(packed)}]")
            raise
        return packed

    def _mapping(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        self._count(len(attributes))
        return self._pairs(attributes)

    def _pairs(self, attributes: Mapping[str, Any]) -> dict[str, Any]:
        packed: dict[str, Any] = {}
        key = ""
        try:
            for key, item in attributes.items():
                packed[self._text(key)] = self.pack(item)
        except Refusal as refusal:
            refusal.steps.append(step_text(key))
            raise
        return packed

    def _enter(self, container: Any) -> None:
        self._ancestors.append(container)
        if len(self._ancestors) > self._limits.max_depth:
            raise self._excess(self._limits.max_depth, len(self._ancestors), "levels")

    def _count(self, members: int) -> None:
        self._items += members
        if self._items > self._limits.max_items:
            raise self._excess(self._limits.max_items, self._items, "items")

    def _grow(self, characters: int) -> None:
        # Every character takes a byte or more, so a value that is far too large is refused before it is written.
        self._characters += characters
        if self._characters > self._limits.max_value_bytes:
            raise self._excess(self._limits.max_value_bytes, self._characters, "bytes")

    def _excess(self, limit: int, actual: int, unit: str) -> Refusal:
        # A cycle always ends here, whichever cap it meets first: one of the containers is inside itself.
        seen: set[int] = set()
        for position, container in enumerate(self._ancestors):
            if id(container) in seen:
                return Unsupported(type(container), "contains itself", kept=position)
            seen.add(id(container))
        # Bytes are a property of the whole value; a level and an item have a place.
        return Excess(limit, actual, unit, kept=0 if unit == "bytes" else None)


def _attributes(value: Any, shape: Shape) -> dict[str, Any]:
    """Return the exact state of a dataclass instance or the fields of a named tuple."""
    attributes: dict[str, Any] = {}
    if shape.kind == "namedtuple":
        # A subclass without __slots__ can carry attributes that its fields do not show.
        if getattr(value, "__dict__", None) or len(value) != len(shape.cls._fields):
            raise Unsupported(shape.cls, "has state beside its fields")
        return dict(zip(shape.cls._fields, value, strict=True))
    for name, slot in shape.slots.items():
        try:
            attributes[name] = slot.__get__(value)
        except AttributeError:
            continue  # never set: it stays so
    attributes.update(getattr(value, "__dict__", {}))
    # Written by typing when a generic class is called with its parameters; no part of the state.
    attributes.pop("__orig_class__", None)
    _require(shape, attributes)
    return attributes


def _require(shape: Shape, attributes: Mapping[str, Any]) -> None:
    if not shape.required <= attributes.keys():
        raise Unsupported(shape.cls, "lacks a field that its class requires")


def step_text(key: Any) -> str:
    """A step into a container, as paths in errors have it."""
    if type(key) is str:
        if key.isidentifier() and key.isascii() and len(key) <= 64:
            return f".{key}"
        return f"[{json.dumps(key if len(key) <= 64 else key[:64] + '...')}]"
    if key is None or type(key) is bool or (type(key) is int and abs(key) < 2**64):
        return f"[{key}]"
    return f"[<{type(key).__name__}>]"


_BUILTINS: dict[type, Callable[[_Packer, Any], Any]] = {
    dict: _Packer._dict,
    list: _Packer._list,
    tuple: _Packer._tuple,
    set: _Packer._set,
    frozenset: _Packer._frozenset,
}
