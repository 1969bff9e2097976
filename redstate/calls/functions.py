"""Functions that callers pass in: refused where the store's colour could not call them."""

from __future__ import annotations

import inspect
from typing import Any

from redstate.errors import InvalidInput


def checked_function(what: str, function: Any, awaited: bool) -> None:
    """Refuses what the store's colour cannot call.

    Args:
        what: what errors call it.
        function: what was passed.
        awaited: whether the store is an asynchronous one, which can call both kinds.

    Raises:
        InvalidInput: it is no function, or a coroutine function in a blocking store.
    """
    if not callable(function):
        raise InvalidInput(f"{what} must be a function, not {type(function).__name__}")
    if not awaited and inspect.iscoroutinefunction(function):
        raise InvalidInput("A Store cannot await an async function", next_step="Use an AsyncStore, or a plain function")
