"""A schema: a class, its version, and the way up from older versions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from redstate.errors import InvalidSchema, SchemaMismatch
from redstate.schema.fields import FieldRule, compiled
from redstate.schema.problems import explain

S = TypeVar("S")
Upcaster = Callable[[dict[str, Any]], dict[str, Any]]
_NO_UPCASTERS: Mapping[int, Upcaster] = MappingProxyType({})
_HIGHEST = 9_999


class Schema(Generic[S]):
    """What a conversation's state looks like. ``schema=Shop`` is short for ``schema=Schema(Shop)``.

    While workers of two versions serve side by side, both versions' rules hold, so a new version keeps to this:

    - A field that both versions have keeps its meaning and type.
    - A field that is made of older ones gets a new name. Its upcaster derives it each time, as older workers go on
      writing the old fields; and newer workers write the old fields too, in the same ``update``.
    - An upcaster runs at each read for as long as older workers write, so also on state that has old and new fields
      together, some of them its own. It keeps a new field that is there already (``state.setdefault``), copes with
      fields that are not there yet, and leaves the old fields in.

    When no older worker is left, ``conversation.upgrade()`` writes down what the upcasters make, and may drop the old
    fields.

    Args:
        cls: a dataclass, a TypedDict or a pydantic model. The validators of a field run at each write of that field
            and at each read of the whole, so they must leave alone what they made themselves. Validators of the whole
            class (``model_validator``, ``__post_init__``) do *not* run at a write, as the fields may come one by one:
            only ``typed()`` runs them, and raises SchemaMismatch for what they refuse.
        version: of the class, from 1.
        upcasters: by version, what makes plain state of the next version of plain state of that version; one for each
            version from the oldest that can lie in the store to the one before this. It may change the dict it gets.

    Raises:
        InvalidSchema: the class, the version or the upcasters cannot be used, and why.
        MissingExtra: pydantic is not installed (``redstate[schema]``).
    """

    __slots__ = ("_adapter", "_upcasters", "cls", "oldest", "rules", "version", "versions")

    def __init__(self, cls: type[S], *, version: int = 1, upcasters: Mapping[int, Upcaster] = _NO_UPCASTERS) -> None:
        self.rules: Mapping[str, FieldRule]
        self.rules, self._adapter = compiled(_checked_class(cls))
        self.cls = cls
        self.version = _checked_version(version)
        self._upcasters = _checked_upcasters(upcasters, version)
        self.oldest = min(self._upcasters, default=version)
        # The word that tells scripts of it: version, and oldest version that it can read.
        self.versions = f"{version:04d}{self.oldest:04d}"

    def __repr__(self) -> str:
        return f"<Schema {self.cls.__qualname__} version {self.version}>"

    def upcast(self, state: dict[str, Any], version: int, key: str) -> dict[str, Any]:
        """Plain state of an older version as plain state of this one.

        Raises:
            SchemaMismatch: the version is older than the oldest that has an upcaster.
        """
        if version < self.oldest:
            raise SchemaMismatch(
                f"The state of {key} is of schema version {version}, from which no upcaster leads to {self.version}",
                next_step=f"Add the upcasters from version {version} on",
                key=key,
                path="",
                expected=f"schema version {self.oldest} or later",
            )
        for step in range(version, self.version):
            state = self._upcasters[step](state)
            if type(state) is not dict:
                raise InvalidSchema(
                    f"The upcaster of version {step} returned {type(state).__name__}",
                    next_step="Return the state, a dict",
                )
        return state

    def instance(self, state: Mapping[str, Any], key: str) -> S:
        """An instance of the class, made of plain state. Fields that the class does not have are left out.

        Raises:
            SchemaMismatch: the state does not fit, and where.
        """
        from pydantic_core import ValidationError

        known = {name: value for name, value in state.items() if name in self.rules}
        try:
            made: S = self._adapter.validate_python(known, strict=False, by_alias=False, by_name=True)
        except ValidationError as error:
            path, expected = explain(error, known)
        else:
            return made
        # Raised out here, so that no context carries the state into a report.
        raise SchemaMismatch(
            f"{path or 'The state'} of {key} must be {expected}", key=key, path=path, expected=expected
        )


def as_schema(schema: type[S] | Schema[S]) -> Schema[S]:
    """The schema, or one of version 1 of the class. A class is looked at once.

    Raises:
        InvalidSchema: it is neither.
    """
    return schema if isinstance(schema, Schema) else _first_version(_checked_class(schema))


@functools.lru_cache(maxsize=512)
def _first_version(cls: type[S]) -> Schema[S]:
    return Schema(cls)


def _checked_class(cls: Any) -> Any:
    if not isinstance(cls, type):
        raise InvalidSchema(f"A schema is made of a class, not of {type(cls).__name__}")
    return cls


def _checked_version(version: int) -> int:
    if type(version) is not int or not 1 <= version <= _HIGHEST:
        raise InvalidSchema("A schema's version is no int from 1 to 9,999", next_step="Count versions from 1")
    return version


def _checked_upcasters(upcasters: Mapping[int, Upcaster], version: int) -> dict[int, Upcaster]:
    try:
        given = dict(upcasters)
    except (TypeError, ValueError):
        raise InvalidSchema("upcasters is no mapping", next_step="Pass a dict of version to function") from None
    wanted = set(range(min((number for number in given if type(number) is int), default=version), version))
    if set(given) != wanted or version - len(given) < 1:
        missing = ", ".join(map(str, sorted(wanted - given.keys())))
        raise InvalidSchema(
            f"The upcasters do not lead to version {version} without a gap" + (f": {missing}" if missing else ""),
            next_step="Give one for each version from the oldest that can be stored to the one before this",
        )
    if not all(map(callable, given.values())):
        raise InvalidSchema("An upcaster is no function", next_step="Pass functions from dict to dict")
    return given
