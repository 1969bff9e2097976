"""Errors as what a tool returns to a language model."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from redstate import _keys
from redstate.errors import RedstateError

P = ParamSpec("P")
T = TypeVar("T")

_logger = logging.getLogger("redstate")


class _Decorator(Protocol):
    # A function that returns a coroutine fits both signatures; the first that fits counts.
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, T]], /
    ) -> Callable[P, Coroutine[Any, Any, T | dict[str, Any]]]: ...
    @overload
    def __call__(self, function: Callable[P, T], /) -> Callable[P, T | dict[str, Any]]: ...


@overload
def errors_as_result(
    function: Callable[P, Coroutine[Any, Any, T]], /
) -> Callable[P, Coroutine[Any, Any, T | dict[str, Any]]]: ...
@overload
def errors_as_result(function: Callable[P, T], /) -> Callable[P, T | dict[str, Any]]: ...
@overload
def errors_as_result(*, also: tuple[type[Exception], ...] = ()) -> _Decorator: ...
def errors_as_result(
    function: Callable[..., Any] | None = None, /, *, also: tuple[type[Exception], ...] = ()
) -> Callable[..., Any]:
    """A decorator for tools, blocking or async: an error of redstate becomes a dict that the tool returns.

        @tool("Add an item to the cart")
        @errors_as_result
        def add_to_cart(self, sku: str, quantity: int = 1) -> dict: ...

    The dict is ``{"error": what happened, "error_type": name of the class, "next_step": what to do about it}`` with the
    error's own facts, such as ``missing`` and ``allowed`` of a refused workflow step: see ``RedstateError.as_result``.
    Each leaves one line in the log ``redstate``, at WARNING: function, class and conversation. Name, signature and
    docstring of the function stay, so the SDK's ``@tool`` reads them; it may stand above or below.

    Args:
        function: the tool, where the decorator is used without parentheses.
        also: further exceptions to return. Of these only the name of the class is told and logged, as their text may
            quote what must not be told. All others pass through.

    Raises:
        TypeError: it decorates no function, or ``also`` is no tuple of classes of Exception.
    """
    if not isinstance(also, tuple) or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in also):
        raise TypeError("also= takes a tuple of exception classes, such as also=(KeyError,)")
    if function is None:
        return functools.partial(_decorated, caught=(RedstateError, *also))
    return _decorated(function, (RedstateError, *also))


def _decorated(function: Callable[..., Any], caught: tuple[type[Exception], ...]) -> Callable[..., Any]:
    # A class would be wrapped without a word, and @errors_as_result(KeyError) would make it vanish.
    if not callable(function) or isinstance(function, type):
        raise TypeError("@errors_as_result decorates a function; exceptions are named as also=(KeyError,)")
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def answering(*args: Any, **named: Any) -> Any:
            try:
                return await function(*args, **named)
            except caught as error:
                return _result(function, error)

    else:

        @functools.wraps(function)
        def answering(*args: Any, **named: Any) -> Any:
            try:
                return function(*args, **named)
            except caught as error:
                return _result(function, error)

    return answering


def _result(function: Callable[..., Any], error: Exception) -> dict[str, Any]:
    kind = type(error).__name__
    conversation = _conversation(error)
    place = "" if conversation is None else f" in conversation {conversation!r}"
    _logger.warning("%s returned %s as its result%s", getattr(function, "__qualname__", function), kind, place)
    if isinstance(error, RedstateError):
        return error.as_result()
    return {"error": f"It failed with {kind}", "error_type": kind}


def _conversation(error: Exception) -> str | None:
    """The id of the conversation that the error is about, where it names one."""
    key = error.data.get("key") if isinstance(error, RedstateError) else None
    return None if key is None else _keys.decode_conversation_key(key.partition(":{")[0], key)
