"""The classes whose instances can be stored, and how their state is taken and put back.

A class is found by name among those that this process has encoded or registered, and in modules that are loaded
already. Data never causes an import, and never reaches a class of another kind.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import Enum
from functools import partial
from types import MemberDescriptorType, ModuleType
from typing import Any, Literal, TypeVar

from redstate._codec.refusals import Malformed, UnknownClass, Unsupported

Kind = Literal["enum", "dataclass", "namedtuple", "model"]
T = TypeVar("T", bound=type)
Defaults = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True, slots=True)
class Shape:
    """What the codec knows about a class.

    Attributes:
        cls: the class itself.
        name: ``module:qualified.name``.
        required: fields that an instance cannot be without.
        defaults: makers of the fields that a stored instance of an older class may lack.
        private_defaults: the same for the private attributes of a pydantic model.
        slots: descriptors of the attributes that live outside the instance's ``__dict__``.
        base: for pydantic, the library's class that takes and restores the state.
    """

    cls: Any
    kind: Kind
    name: str
    required: frozenset[str] = frozenset()
    defaults: Defaults = field(default_factory=dict)
    private_defaults: Defaults = field(default_factory=dict)
    slots: Mapping[str, MemberDescriptorType] = field(default_factory=dict)
    base: Any = None


_by_class: dict[type, Shape] = {}
_by_name: dict[str, Shape] = {}


def register(cls: T) -> T:
    """Make a class known, so that stored instances of it can be read. Usable as a decorator.

    Needed only for classes that cannot be reached by their name in a loaded module, such as those made inside a
    function. If two classes have the same name, the one seen last is used.

    Args:
        cls: an Enum, a dataclass, a NamedTuple or a pydantic model.

    Returns:
        The class itself.

    Raises:
        UnsupportedValue: instances of the class cannot be stored.
    """
    if shape_of(cls) is None:
        reason = "is no Enum, dataclass, NamedTuple or pydantic model that can be rebuilt"
        raise Unsupported(cls, reason).as_error(cls.__qualname__)
    return cls


def shape_of(cls: type) -> Shape | None:
    """Return the shape of a class, or None if its instances cannot be stored."""
    shape = _by_class.get(cls)
    if shape is None:
        shape = _examine(cls)
        if shape is not None:
            previous = _by_name.get(shape.name)
            if previous is not None:
                _by_class.pop(previous.cls, None)
            _by_class[cls] = _by_name[shape.name] = shape
    return shape


def find(name: Any, kind: Kind) -> Shape:
    """Return the shape of a stored class.

    Raises:
        Malformed: this is no class name, or the class is of another kind.
        UnknownClass: this process has no such class.
    """
    if type(name) is not str or ":" not in name or len(name) > 512 or not name.isprintable():
        raise Malformed("a malformed class name")
    shape = _by_name.get(name) or _find_loaded(name)
    if shape is None:
        raise UnknownClass(name)
    if shape.kind != kind:
        raise Malformed("a class of another kind")
    return shape


def _find_loaded(name: str) -> Shape | None:
    # Namespaces are read directly: getattr could run a module's lazy imports.
    module_name, _, qualname = name.partition(":")
    found: Any = sys.modules.get(module_name)
    for part in qualname.split("."):
        if not isinstance(found, ModuleType | type):
            return None
        found = vars(found).get(part)
    return shape_of(found) if isinstance(found, type) and _name_of(found) == name else None


def _name_of(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _examine(cls: type) -> Shape | None:
    if issubclass(cls, Enum):
        return Shape(cls, "enum", _name_of(cls))
    # A subclass that is no dataclass itself may keep state that the fields do not show.
    if "__dataclass_fields__" in vars(cls):
        return _examine_dataclass(cls)
    if issubclass(cls, tuple) and hasattr(cls, "_fields") and hasattr(cls, "_field_defaults"):
        return _examine_namedtuple(cls)
    return _examine_model(cls)


def _examine_dataclass(cls: Any) -> Shape | None:
    try:
        object.__new__(cls)
    except TypeError:  # it derives from a builtin whose content is not in the fields
        return None
    slots: dict[str, MemberDescriptorType] = {}
    for base in reversed(cls.__mro__):
        slots |= {name: slot for name, slot in vars(base).items() if isinstance(slot, MemberDescriptorType)}
    required, defaults = set(), {}
    for item in fields(cls):
        if item.default_factory is not MISSING:
            defaults[item.name] = item.default_factory
        elif item.default is not MISSING:
            # Without slots, a default of a field outside __init__ is read from the class.
            if item.init or item.name in slots:
                defaults[item.name] = partial(_same, item.default)
        elif item.init:
            required.add(item.name)
    return Shape(cls, "dataclass", _name_of(cls), frozenset(required), defaults, slots=slots)


def _examine_namedtuple(cls: Any) -> Shape:
    defaults = {name: partial(_same, default) for name, default in cls._field_defaults.items()}
    return Shape(cls, "namedtuple", _name_of(cls), frozenset(cls._fields) - defaults.keys(), defaults)


def _examine_model(cls: Any) -> Shape | None:
    # If pydantic is not loaded, no class can be one of its models.
    pydantic = sys.modules.get("pydantic.main")
    if pydantic is None or not issubclass(cls, pydantic.BaseModel):
        return None
    # RootModel keeps its state in its own way; a user's own pickling support is not asked.
    base = next(
        base for base in cls.__mro__ if base.__module__.startswith("pydantic.") and "__getstate__" in vars(base)
    )
    required, defaults = set(), {}
    for name, info in cls.model_fields.items():
        if info.is_required():
            required.add(name)
        else:
            defaults[name] = partial(info.get_default, call_default_factory=True)
    undefined = sys.modules["pydantic_core"].PydanticUndefined
    private = {
        name: attribute.get_default
        for name, attribute in cls.__private_attributes__.items()
        if attribute.default_factory is not None or attribute.default is not undefined
    }
    return Shape(cls, "model", _name_of(cls), frozenset(required), defaults, private, base=base)


def _same(value: Any) -> Any:
    return value
