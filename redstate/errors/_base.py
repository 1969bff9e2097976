"""The base of every error: its facts, its advice, and how it is told to a language model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar


class RedstateError(Exception):
    """Base of every error of redstate.

    Args:
        message: what happened, in words; never a stored value, never a credential.
        next_step: what the caller can do about it; the class's own advice by default.
        data: the facts, as keyword arguments; each becomes an attribute.
    """

    advice: ClassVar[str] = ""
    # Which of the data as_result() tells: none that hold stored values, keys or operation ids.
    tells: ClassVar[tuple[str, ...]] = ()

    def __init__(self, message: str, *, next_step: str | None = None, **data: Any) -> None:
        # Paths and ids come from outside: one that breaks lines must not forge a line of a log.
        self.message = message = _printable(message)
        self.next_step = self.advice if next_step is None else next_step
        self.data = data
        for name, value in data.items():
            setattr(self, name, value)
        super().__init__(f"{message}. {self.next_step}" if self.next_step else message)

    def as_result(self) -> dict[str, Any]:
        """The error as a dict of plain JSON that a tool can return to a language model.

        Returns:
            ``error`` (the message), ``error_type`` (the name of the class), ``next_step`` where there is one, and those
            of the attributes that tell a model what to do, such as ``missing``, ``allowed`` or ``retry_after``.
        """
        result = {"error": self._spoken(), "error_type": type(self).__name__}
        if self.next_step:
            result["next_step"] = self.next_step
        facts = {name: self.data[name] for name in self.tells if name in self.data}
        return result | {name: str(fact) if isinstance(fact, Decimal) else fact for name, fact in facts.items()}

    def _spoken(self) -> str:
        """The message without the name of a key, which a model might read out."""
        key = self.data.get("key")
        if not isinstance(key, str) or not key:
            return self.message
        return self.message.replace(_printable(key), "this conversation" if "{conv:" in key else "this record")

    def __reduce__(self) -> tuple[Any, ...]:
        # Errors cross process boundaries in worker pools; the default reduction would lose the keyword arguments.
        return _rebuild, (type(self), self.message, self.next_step, self.data)


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _rebuild(cls: type[RedstateError], message: str, next_step: str, data: dict[str, Any]) -> RedstateError:
    return cls(message, next_step=next_step, **data)
