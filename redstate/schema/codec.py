"""The codec of a state that is held to a schema: every way to write a field leads through it."""

from __future__ import annotations

from typing import Any

from redstate._codec import Codec
from redstate._codec.sealing import SealingCodec
from redstate.errors import InvalidValue
from redstate.schema.definition import Schema
from redstate.schema.fields import FieldRule


class SchemaCodec(Codec):
    """Encodes state fields after the schema has judged them, and what the schema made of them.

    Args:
        schema: what the state is held to.
        codec: the store's own, for its limits.
    """

    __slots__ = ("schema",)

    def __init__(self, schema: Schema[Any], codec: Codec) -> None:
        super().__init__(codec.limits)
        self.schema = schema

    def encode(self, value: Any, path: str, field: str | None = None, before: bytes | None = None) -> bytes:
        """Return a field's value as bytes, or, under the path ``field[]``, an item of its list.

        Raises:
            InvalidValue: the schema has no such field, or it does not take the value.
            WrongType: the item can only be judged together with its list.
            UnsupportedValue, TooLarge: as Codec.encode.
        """
        rule = self.schema.rules.get(path)
        if rule is not None:
            return super().encode(rule.plain(value, path), path, field=field, before=before)
        return super().encode(self.rule(path.removesuffix("[]")).item(value, path), path, field=field)

    def rule(self, name: str) -> FieldRule:
        """The rule of a field.

        Raises:
            InvalidValue: the schema has no such field.
        """
        rule = self.schema.rules.get(name) if type(name) is str else None
        if rule is None:
            fields = ", ".join(self.schema.rules)
            raise InvalidValue(
                f"{name} is no field of {self.schema.cls.__qualname__}",
                next_step="Write to a field of the schema, or add this one to it",
                path=str(name),
                expected=f"one of the fields {fields}",
            )
        return rule

    def removable(self, name: str) -> None:
        """Check that a field may be taken out.

        Raises:
            InvalidValue: the schema has no such field, or requires it.
        """
        if self.rule(name).required:
            raise InvalidValue(
                f"{name} is required by {self.schema.cls.__qualname__}",
                next_step="Set it to another value instead",
                path=name,
                expected="a value: the field is required",
            )


class SealingSchemaCodec(SchemaCodec, SealingCodec):
    """The same for a record whose store encrypts: what the schema made of a value is encrypted."""

    def __init__(self, schema: Schema[Any], codec: SealingCodec) -> None:
        SealingCodec.__init__(self, codec.limits, codec.encryption, codec.key)
        self.schema = schema


def schema_codec(schema: Schema[Any], codec: Codec) -> SchemaCodec:
    """The codec of a record that is held to a schema; ``codec`` is the record's own."""
    return SealingSchemaCodec(schema, codec) if isinstance(codec, SealingCodec) else SchemaCodec(schema, codec)
