"""What the parts of the codec raise among themselves; Codec turns each into an error of the public tree."""

from __future__ import annotations

from redstate.errors import InvalidInput, TooLarge, UnsupportedValue


class Refusal(Exception):
    """A value that cannot be encoded. Each container it leaves adds the step that led to the child.

    Attributes:
        steps: from the innermost step outwards.
        kept: how many steps from the root name the place; None keeps all.
    """

    kept: int | None = None

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[str] = []

    def place(self, root: str) -> str:
        return root + "".join(self.steps[::-1][: self.kept])

    def as_error(self, root: str) -> InvalidInput:
        raise NotImplementedError


class Unsupported(Refusal):
    """A value of a kind that would not come back as it went in."""

    def __init__(self, cls: type, reason: str = "", kept: int | None = None) -> None:
        super().__init__()
        self.value_type = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
        self.reason = reason or f"is of type {self.value_type}, which cannot be stored"
        self.kept = kept

    def as_error(self, root: str) -> UnsupportedValue:
        place = self.place(root)
        return UnsupportedValue(f"{place} {self.reason}", path=place, value_type=self.value_type)


class Excess(Refusal):
    """A value beyond a cap; ``actual`` is what had been counted when counting stopped."""

    def __init__(self, limit: int, actual: int, unit: str, kept: int | None = None) -> None:
        super().__init__()
        self.limit, self.actual, self.unit, self.kept = limit, actual, unit, kept

    def as_error(self, root: str) -> TooLarge:
        place = self.place(root)
        message = f"{place} has at least {self.actual} {self.unit}, the limit is {self.limit}"
        return TooLarge(message, path=place, limit=self.limit, actual=self.actual, unit=self.unit)


class Malformed(Exception):
    """Bytes that this codec does not write."""


class Sealed(Exception):
    """An encrypted value. ``key_id`` names its key."""

    def __init__(self, key_id: str) -> None:
        super().__init__(key_id)
        self.key_id = key_id


class UnknownClass(Exception):
    """A stored class, or time zone, that this process does not have."""

    def __init__(self, type_name: str, next_step: str | None = None) -> None:
        super().__init__(type_name)
        self.type_name, self.next_step = type_name, next_step
