"""The types of what a workflow collects. Values often come from a language model, as text: "2026-03-01", "3"."""

from __future__ import annotations

import enum
import math
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from redstate.errors import InvalidValue

_WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,30}(\.[0-9]{0,30})?|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATETIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}\S*")
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


class _Refused(ValueError):
    """The value is not of the type. ``inside`` is where in the value, such as ``[2]``. It never leaves this module."""

    def __init__(self, inside: str = "", expected: str = "") -> None:
        super().__init__()
        self.inside = inside
        self.expected = expected


@dataclass(frozen=True, slots=True)
class FieldType:
    """What one field takes.

    Attributes:
        annotation: as declared, such as ``date`` or ``list[str]``.
        words: the type in words, for people and language models.
        short: the same in a word or two, for diagrams.
        required: whether its step can only be left when it is there; ``Optional`` ones are not required.
    """

    annotation: Any
    words: str
    short: str
    required: bool
    _convert: Callable[[Any], Any]

    def convert(self, value: Any, path: str) -> Any:
        """The value as the declared type.

        Raises:
            InvalidValue: it is neither of that type nor text that says such a value.
        """
        try:
            return self._convert(value)
        except _Refused as refused:
            path += refused.inside
            expected = refused.expected or self.words
        # Raised out here, so that no context carries the value into a report.
        raise InvalidValue(
            f"{path} must be {expected}", next_step="Ask for it again, or convert it", path=path, expected=expected
        )


def field_type(annotation: Any) -> FieldType | None:
    """The type that an annotation declares; None where a workflow cannot collect such a thing."""
    if isinstance(annotation, type) and annotation in _SCALARS:
        words, short, convert = _SCALARS[annotation]
        return FieldType(annotation, words, short, True, convert)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum) and len(annotation):
        return _choice(annotation, {member: member.value for member in annotation})
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal and all(type(choice) in (str, int, bool) for choice in arguments):
        return _choice(annotation, {choice: choice for choice in arguments})
    if origin is list and len(arguments) == 1:
        return _list(annotation, arguments[0])
    if origin in (typing.Union, types.UnionType) and len(arguments) == 2 and types.NoneType in arguments:
        return _optional(annotation, next(one for one in arguments if one is not types.NoneType))
    return None


def _optional(annotation: Any, inner: Any) -> FieldType | None:
    within = field_type(inner)
    if within is None:
        return None

    def convert(value: Any) -> Any:
        return None if value is None else within._convert(value)

    return FieldType(annotation, f"{within.words}, or nothing", f"{within.short}, optional", False, convert)


def _list(annotation: Any, inner: Any) -> FieldType | None:
    item = field_type(inner)
    if item is None:
        return None

    def convert(value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise _Refused
        converted = []
        for place, one in enumerate(value):
            try:
                converted.append(item._convert(one))
            except _Refused as refused:
                raise _Refused(f"[{place}]{refused.inside}", refused.expected or item.words) from None
        return converted

    return FieldType(annotation, f"a list, each item {item.words}", f"list of {item.short}", True, convert)


def _choice(annotation: Any, choices: dict[Any, Any]) -> FieldType:
    """One of several values. The text of one stands for it where no other has the same text."""

    def convert(value: Any) -> Any:
        for choice, stored in choices.items():
            if type(value) in (type(choice), type(stored)) and value in (choice, stored):
                return choice
        if type(value) is str:
            named = [choice for choice, stored in choices.items() if str(stored).casefold() == value.strip().casefold()]
            if len(named) == 1:
                return named[0]
        raise _Refused

    texts = [str(stored) for stored in choices.values()]
    short = " | ".join(texts) if len(texts) <= 3 else f"one of {len(texts)}"
    return FieldType(annotation, f"one of: {', '.join(texts)}", short, True, convert)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _Refused
    return value


def _whole(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if type(value) is str and _WHOLE.fullmatch(value.strip()):
        return int(value)
    raise _Refused


def _float(value: Any) -> float:
    if type(value) in (int, float, Decimal) or (type(value) is str and _NUMBER.fullmatch(value.strip())):
        try:
            number = float(value)
        except (OverflowError, ValueError):  # an int beyond the floats, a signalling NaN
            raise _Refused from None
        if math.isfinite(number):
            return number
    raise _Refused


def _decimal(value: Any) -> Decimal:
    if type(value) in (int, float, Decimal) or (type(value) is str and _NUMBER.fullmatch(value.strip())):
        # A float stands for the decimal that it prints as.
        exact = Decimal(str(value).strip()) if type(value) in (float, str) else Decimal(value)
        if exact.is_finite():
            return exact
    raise _Refused


def _bool(value: Any) -> bool:
    if type(value) is bool:
        return value
    if type(value) is str and value.strip().lower() in _TRUTH:
        return _TRUTH[value.strip().lower()]
    raise _Refused


def _date(value: Any) -> date:
    if type(value) is date:
        return value
    if type(value) is str and _DATE.fullmatch(value.strip()):
        try:
            return date.fromisoformat(value.strip())
        except ValueError:  # 2026-02-30
            raise _Refused from None
    raise _Refused


def _datetime(value: Any) -> datetime:
    if type(value) is datetime:
        return value
    if type(value) is str and _DATETIME.fullmatch(value.strip()):
        try:
            return datetime.fromisoformat(value.strip())
        except ValueError:
            raise _Refused from None
    raise _Refused


_SCALARS: dict[type, tuple[str, str, Callable[[Any], Any]]] = {
    str: ("text", "text", _text),
    int: ("a whole number", "whole number", _whole),
    float: ("a number", "number", _float),
    Decimal: ("an exact number such as 19.99", "exact number", _decimal),
    bool: ("true or false", "yes or no", _bool),
    date: ("a date such as 2026-03-01", "date", _date),
    datetime: ("a date and time such as 2026-03-01T15:30", "date and time", _datetime),
}
