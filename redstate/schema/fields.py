"""The fields of a schema's class, each with what judges its values. The only place that imports pydantic."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
from typing import TYPE_CHECKING, Any, cast, is_typeddict

from redstate.errors import InvalidSchema, InvalidValue, MissingExtra, UnsupportedValue, WrongType
from redstate.schema.problems import explain

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Node = dict[str, Any]
"""A part of pydantic's core schema."""

# Values of these types are what is stored; others are taken apart into plain data first.
_SCALARS = frozenset({"any", "str", "int", "float", "bool", "none", "bytes", "decimal", "date", "time", "datetime",
                      "timedelta", "uuid", "enum", "literal"})  # fmt: skip
_AROUND = frozenset({"function-before", "function-after", "function-wrap", "model", "dataclass"})
_NO_DEFAULT: Any = object()


class FieldRule:
    """One field: what it takes, and how a value of it is stored.

    Attributes:
        name: the field.
        required: whether a whole state must have it.
        adds: whether any whole number may be added to it unseen, beginning at 0.
        splices: whether an item that fits may be appended to it unseen, beginning with none.
    """

    __slots__ = ("_defaults", "_item", "_scalar", "_serializer", "_validator", "adds", "name", "required", "splices")

    def __init__(self, name: str, node: Node, build: _Build, *, required: bool) -> None:
        self.name = name
        self.required = required
        self._validator, self._serializer = build.judge(node)
        self._defaults = node if node["type"] == "default" else None
        bare = build.bare(node)
        kind = bare["type"]
        self._scalar = kind in _SCALARS and "serialization" not in bare
        bounded = bare.keys() - {"type", "strict", "metadata", "ref"}
        self.adds = self._starts(0) and (kind == "any" or (kind == "int" and not bounded))
        items = bare.get("items_schema", {"type": "any"})
        plain_list = kind == "list" and not bare.keys() & {"min_length", "max_length", "serialization"}
        self.splices = (kind == "any" or plain_list) and self._starts([])
        self._item = FieldRule(f"{name}[]", items, build, required=True) if plain_list else None

    def plain(self, value: Any, path: str) -> Any:
        """The value as it is stored: validated, and of builtin containers instead of classes.

        Raises:
            InvalidValue: the field does not take it.
        """
        from pydantic_core import ValidationError

        checked = value
        try:
            checked = self._validator.validate_python(value, by_alias=True, by_name=True)
            if self._scalar:
                return checked
            checked = self._taken_apart(checked, path)
            # An instance is believed until it is taken apart; and what is stored must be readable.
            self._validator.validate_python(checked, strict=False, by_alias=False, by_name=True)
        except ValidationError as error:
            place, expected = explain(error, checked, path)
        else:
            return checked
        # Raised out here, so that no context carries the value into a report.
        raise InvalidValue(f"{place} must be {expected}", path=place, expected=expected)

    def _taken_apart(self, checked: Any, path: str) -> Any:
        from pydantic_core import PydanticSerializationError

        try:
            return self._serializer.to_python(checked, by_alias=False, round_trip=True, warnings=False)
        except (PydanticSerializationError, TypeError):
            kind = type(checked).__name__
        # Such as a set of instances: of dicts there are no sets.
        message = f"{path} is of type {kind} and cannot be taken apart into plain data"
        raise UnsupportedValue(message, path=path, value_type=kind)

    def item(self, value: Any, path: str) -> Any:
        """An item to append, likewise.

        Raises:
            InvalidValue: the list does not take it.
            WrongType: it can only be judged together with the rest of the list.
        """
        if not self.splices:
            raise WrongType(f"Field {self.name!r} is judged as a whole", field=self.name)
        return value if self._item is None else self._item.plain(value, path)

    def default(self) -> Any:
        """What the field is while it is absent, plain; None without a default."""
        node = self._defaults
        if node is None or node.get("default_factory_takes_data"):
            return None
        value = node["default_factory"]() if "default_factory" in node else copy.deepcopy(node["default"])
        return None if value is None else self.plain(value, self.name)

    def _starts(self, value: Any) -> bool:
        """Whether an absent field counts as ``value``."""
        node = self._defaults
        if node is None:
            return True
        if "default_factory" in node:
            return node["default_factory"] is type(value)
        return node["default"] is None or (type(node["default"]) is type(value) and node["default"] == value)


class _Build:
    """Makes rules of one class's core schema."""

    def __init__(self, cls: type, root: Node) -> None:
        self._cls = cls
        self._definitions: list[Node] = root["definitions"] if root["type"] == "definitions" else []
        self._refs = {node["ref"]: node for node in self._definitions}
        self._config: Any = None
        self._root = root["schema"] if self._definitions else root

    def rules(self) -> dict[str, FieldRule]:
        node = self._resolve(self._root)
        while node["type"] in _AROUND:
            self._config = node.get("config", self._config)
            node = self._resolve(node["schema"])
        self._config = node.get("config", self._config)
        fields = node.get("fields")
        if node["type"] not in ("model-fields", "dataclass-args", "typed-dict") or fields is None:
            raise InvalidSchema(f"{self._cls.__qualname__} has no named fields")
        pairs = fields.items() if isinstance(fields, dict) else [(field["name"], field) for field in fields]
        return {name: self._rule(name, field) for name, field in pairs if field.get("init", True)}

    def _rule(self, name: str, field: Node) -> FieldRule:
        if field.get("init_only"):
            raise InvalidSchema(f"{self._cls.__qualname__}.{name} is an InitVar, which is no state")
        if name.endswith("[]"):
            raise InvalidSchema(f"{self._cls.__qualname__} has a field whose name ends with []")
        node = field["schema"]
        return FieldRule(name, node, self, required=field.get("required", node["type"] != "default"))

    def judge(self, node: Node) -> tuple[Any, Any]:
        from pydantic_core import CoreSchema, SchemaSerializer, SchemaValidator

        whole = cast(CoreSchema, {"type": "definitions", "schema": node, "definitions": self._definitions})
        return SchemaValidator(whole, self._config), SchemaSerializer(whole, self._config)

    def bare(self, node: Node) -> Node:
        """What stands behind defaults, None and references."""
        node = self._resolve(node)
        while node["type"] in ("default", "nullable") and "serialization" not in node:
            node = self._resolve(node["schema"])
        return node

    def _resolve(self, node: Node) -> Node:
        while node["type"] == "definition-ref":
            node = self._refs[node["schema_ref"]]
        return node


@functools.lru_cache(maxsize=512)
def compiled(cls: type) -> tuple[dict[str, FieldRule], TypeAdapter[Any]]:
    """The rules of a class's fields, and what makes an instance of them.

    Raises:
        InvalidSchema: it is no dataclass, TypedDict or pydantic model, or pydantic does not understand it.
        MissingExtra: pydantic is not installed.
    """
    try:
        from pydantic import BaseModel, RootModel, TypeAdapter
        from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
    except ImportError:
        raise MissingExtra(
            "A schema needs pydantic, which is not installed", next_step="Install redstate[schema]", extra="schema"
        ) from None
    known = inspect.isclass(cls) and (dataclasses.is_dataclass(cls) or is_typed(cls) or issubclass(cls, BaseModel))
    if not known or (inspect.isclass(cls) and issubclass(cls, RootModel)):
        raise InvalidSchema(f"{getattr(cls, '__qualname__', type(cls).__name__)} cannot be a schema")
    try:
        adapter: TypeAdapter[Any] = TypeAdapter(cls)
        return _Build(cls, cast(Node, adapter.core_schema)).rules(), adapter
    except (PydanticUserError, PydanticSchemaGenerationError, NameError) as error:
        raise InvalidSchema(
            f"pydantic cannot make a schema of {cls.__qualname__}: {_first_line(error)}",
            next_step="Mend the annotations; on Python 3.11, take TypedDict from typing_extensions",
        ) from error


def is_typed(cls: object) -> bool:
    """Whether it is a TypedDict, of the standard library or of typing_extensions."""
    from typing_extensions import is_typeddict as is_extended

    return is_typeddict(cls) or is_extended(cls)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
