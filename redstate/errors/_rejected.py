"""What the server judges and refuses; everything stays as it was."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from redstate.errors._base import RedstateError


class Rejected(RedstateError):
    """The server judged the change and refused it; nothing was written."""


class ConflictError(Rejected):
    """Another writer came first.

    Attributes: ``key``; ``expected_version`` and ``current_version`` where the change was conditional on a version,
    else None; ``field``, the field that changed under a transaction, else None.
    """

    advice = "Read again, decide again, and repeat with the current version"
    expected_version: int | None
    current_version: int | None
    field: str | None


class Fenced(Rejected):
    """A newer owner holds the conversation. Attributes: ``key``, ``current_token``."""

    advice = "Stop serving this conversation: another worker took it over"
    current_token: int


class ConversationEnded(Rejected):
    """The conversation has ended, and takes no changes until it is resumed. Attributes: ``key``."""

    advice = "Call resume() on the conversation to go on with it, or begin another one"


class ConversationAbsent(Rejected):
    """There is no such conversation any more, and it could not be begun anew. Attributes: ``key``."""

    advice = "Nothing was written; repeat the change if it is still wanted"


class DeadlineExceeded(Rejected):
    """The change reached the server after its deadline and was not applied. Attributes: ``key``."""

    advice = "Nothing was written; repeat the change if it is still wanted"


class WrongType(Rejected):
    """The field holds a value that the change does not fit. Attributes: ``key``, ``field``."""

    advice = "Set the field to a value of the right kind first"
    tells = ("field",)
    field: str


class Detached(Rejected, LookupError):
    """The nested value that was read before is not in its field any more. Attributes: ``field``."""

    advice = "Read it again from the state"
    tells = ("field",)
    field: str


class NotAuthenticated(Rejected):
    """Nobody is logged in. Attributes: ``key``, ``reason`` ("logged out", "idle" or "expired")."""

    advice = "Log in first"
    tells = ("reason",)
    reason: str


class TooManyAttempts(Rejected):
    """Too many failed logins. Attributes: ``retry_after`` (seconds until the next may be tried), ``scope``."""

    advice = "Try again after retry_after seconds"
    tells = ("retry_after", "scope")
    retry_after: float
    scope: str

    def as_result(self) -> dict[str, Any]:
        """As for every error; ``retry_after`` in whole seconds, as one would say it."""
        result = super().as_result()
        return {name: math.ceil(fact) if name == "retry_after" else fact for name, fact in result.items()}


class StepRefused(Rejected):
    """The workflow does not allow the change at its present step.

    Attributes: ``workflow``, ``step`` (the present one), ``reason``, ``missing`` (what has to be collected first),
    ``allowed`` (the steps that can follow).
    """

    advice = "Collect what is missing, or go to an allowed step"
    tells = ("workflow", "step", "reason", "missing", "allowed")
    workflow: str
    step: str
    reason: str
    missing: dict[str, str]
    allowed: list[str]


class CartLimit(Rejected):
    """The cart would exceed a limit. Attributes: ``key``, ``sku``, ``what`` (such as "lines"), ``limit``."""

    advice = "Take something out first"
    tells = ("sku", "what", "limit")
    sku: str
    what: str
    limit: int


class CartFrozen(Rejected):
    """The cart was checked out and takes no changes. Attributes: ``key``, ``order_id`` (of the order it became)."""

    advice = "Use start_over() for a new cart; the order stays"
    tells = ("order_id",)
    order_id: str


class CartEmpty(Rejected):
    """There is nothing to check out. Attributes: ``key``."""

    advice = "Add something first"


class OrderExists(Rejected):
    """The order was placed before, and the cart now holds lines of its own. Attributes: ``key``, ``order_id``."""

    advice = "Pass a new order_id for the new cart; order(order_id) reads the old one"
    tells = ("order_id",)
    order_id: str


class TotalChanged(Rejected):
    """The cart does not have the expected total. Attributes: ``key``, ``expected_total``, ``current_total``."""

    advice = "Tell the customer the current total, and check out at that"
    tells = ("expected_total", "current_total")
    expected_total: Decimal
    current_total: Decimal


class StaleOperation(Rejected):
    """The operation left the window of remembered ones, so whether it ran cannot be told. Attributes: ``op_id``."""

    advice = "Read the state to see whether it took effect; repeat it with a new op_id only if it did not"
    op_id: str


class OperationMismatch(Rejected):
    """The op_id already names another kind of change of this conversation. Attributes: ``op_id``.

    Only the kind is compared: the same kind with other arguments gets the first result.
    """

    advice = "Use a new op_id for a new change"
    op_id: str
