"""From what orjson read back to values. Works in place: the structure was made for this call alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from redstate._codec import classes, scalars
from redstate._codec.limits import DEEPEST
from redstate._codec.pack import TAG
from redstate._codec.refusals import Malformed, Sealed
from redstate._encryption import KEY_ID

# In the innermost container there can be an Enum member whose value is tagged as well.
LEVELS = DEEPEST + 2


def restore(node: Any, levels: int = LEVELS) -> Any:
    """Return the value that was packed as this node.

    Raises:
        Malformed: pack() writes no such thing.
        UnknownClass: this process lacks a class or a time zone.
        Sealed: it is encrypted.
        Exception: whatever a user's class raises while it is rebuilt, hashed or compared.
    """
    kind = type(node)
    if kind is not dict and kind is not list:
        return node
    if not levels:
        raise Malformed("too many levels")
    if kind is dict and TAG in node:
        return _restore_tagged(node, levels - 1)
    for place, item in node.items() if kind is dict else enumerate(node):
        if type(item) is dict or type(item) is list:
            node[place] = restore(item, levels - 1)
    return node


def _restore_tagged(node: dict[str, Any], levels: int) -> Any:
    payload = node[TAG]
    if len(node) != 1 or type(payload) is not list or not payload or type(payload[0]) is not str:
        raise Malformed("a malformed tag")
    tag, *content = payload
    scalar = scalars.BY_TAG.get(tag)
    if scalar is not None:
        value = scalar.read(*content)
        if scalar.write(value) != content:
            raise Malformed("a value in a form that is never written")
        return value
    rebuild = _REBUILDERS.get(tag)
    if rebuild is None:
        raise Malformed("an unknown tag")
    return rebuild(content, levels)


def _members(content: list[Any], levels: int) -> list[Any]:
    return [restore(item, levels) for item in content]


def _tuple(content: list[Any], levels: int) -> tuple[Any, ...]:
    return tuple(_members(content, levels))


def _set(content: list[Any], levels: int) -> set[Any]:
    value = set(_members(content, levels))
    _same_length(value, content)
    return value


def _frozenset(content: list[Any], levels: int) -> frozenset[Any]:
    value = frozenset(_members(content, levels))
    _same_length(value, content)
    return value


def _map(content: list[Any], levels: int) -> dict[Any, Any]:
    members = _members(content, levels)
    value = dict(zip(members[::2], members[1::2], strict=True))
    _same_length(value, content[::2])
    return value


def _same_length(value: Any, content: list[Any]) -> None:
    if len(value) != len(content):
        raise Malformed("the same member twice")


def _enum(content: list[Any], levels: int) -> Any:
    name, packed = content
    return classes.find(name, "enum").cls(restore(packed, levels))


def _namedtuple(content: list[Any], levels: int) -> Any:
    name, packed = content
    shape = classes.find(name, "namedtuple")
    attributes = _attributes(packed, shape, levels)
    if len(attributes) != len(shape.cls._fields):
        raise Malformed("a field that the class does not have")
    return tuple.__new__(shape.cls, [attributes[field] for field in shape.cls._fields])


def _dataclass(content: list[Any], levels: int) -> Any:
    # Neither __init__ nor __post_init__ runs: they could change what was stored, or act a second time.
    name, packed = content
    shape = classes.find(name, "dataclass")
    instance: Any = object.__new__(shape.cls)
    for attribute, value in _attributes(packed, shape, levels).items():
        if attribute in shape.slots:
            shape.slots[attribute].__set__(instance, value)
        else:
            vars(instance)[attribute] = value
    return instance


def _model(content: list[Any], levels: int) -> Any:
    # No validation: it could coerce what was stored.
    name, packed, fields_set, extra, private = content
    shape = classes.find(name, "model")
    if type(fields_set) is not list or not all(type(field) is str for field in fields_set):
        raise Malformed("malformed fields of a model")
    instance: Any = object.__new__(shape.cls)
    hidden = _with_defaults({} if private is None else _mapping(private, levels), shape.private_defaults)
    state = {
        "__dict__": _attributes(packed, shape, levels),
        "__pydantic_fields_set__": set(fields_set),
        "__pydantic_extra__": None if extra is None else _mapping(extra, levels),
        "__pydantic_private__": hidden or private,
    }
    shape.base.__setstate__(instance, state)
    return instance


def _attributes(packed: Any, shape: classes.Shape, levels: int) -> dict[str, Any]:
    attributes = _with_defaults(_mapping(packed, levels), shape.defaults)
    if not shape.required <= attributes.keys():
        raise Malformed("a field is missing that the class requires")
    return attributes


def _with_defaults(attributes: dict[str, Any], defaults: classes.Defaults) -> dict[str, Any]:
    # The class may have got attributes since the value was written.
    for name, make in defaults.items():
        if name not in attributes:
            attributes[name] = make()
    return attributes


def _sealed(content: list[Any], levels: int) -> Any:
    match content:
        # Only whole values are encrypted.
        case [str(key_id), str()] if levels == LEVELS - 1 and KEY_ID.fullmatch(key_id):
            raise Sealed(key_id)
    raise Malformed("a malformed encrypted value")


def _mapping(packed: Any, levels: int) -> dict[str, Any]:
    if type(packed) is not dict:
        raise Malformed("malformed attributes")
    return {name: restore(item, levels) for name, item in packed.items()}


_REBUILDERS: dict[str, Callable[[list[Any], int], Any]] = {
    "tuple": _tuple,
    "set": _set,
    "frozenset": _frozenset,
    "map": _map,
    "enum": _enum,
    "namedtuple": _namedtuple,
    "dataclass": _dataclass,
    "model": _model,
    "sealed": _sealed,
}
