"""What every conversation of a run asks for and what must be in the server in the end: pure, the same for a seed.

The parallel steps are the heart of it. Their calls change the same cart line, or count the same field, from threads and
tasks at once; a change that reads and writes in two steps would lose some of them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

PARALLEL_CALLS = 4

# Prices whose sums in binary floating point are off, so that an inexact one shows.
CATALOGUE: dict[str, Decimal] = {
    "espresso-beans": Decimal("12.90"),
    "paper-filter": Decimal("0.10"),
    "sugar-cube": Decimal("0.07"),
    "grinder": Decimal("189.99"),
    "kettle": Decimal("64.35"),
    "cup": Decimal("4.05"),
    "sieve": Decimal("0.30"),
}
ROOMS = ("garden", "harbour", "tower")
_FIRST_NIGHT = date(2030, 1, 1)


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One tool call.

    Attributes:
        mark: its name, unique in the run; also the call id.
        tool: the tool.
        arguments: the tool's arguments, the mark among them.
        again: whether another worker gets the same call once more after it was answered, as after a lost answer.
        answer: the sum that the tool must answer, where it answers one.
    """

    mark: str
    tool: str
    arguments: dict[str, Any]
    again: bool = False
    answer: Decimal | None = None


@dataclass(frozen=True, slots=True)
class ConversationPlan:
    """One conversation.

    Attributes:
        id: its id.
        steps: the calls; those of one step run in parallel, a step begins when the one before it is answered.
        lines: the cart in the end, sku to quantity and price.
        fields: the state in the end, without the log of calls.
    """

    id: str
    steps: tuple[tuple[PlannedCall, ...], ...]
    lines: dict[str, tuple[int, Decimal]]
    fields: dict[str, Any]

    @property
    def calls(self) -> tuple[PlannedCall, ...]:
        """Every call, in order."""
        return tuple(call for step in self.steps for call in step)

    @property
    def total(self) -> Decimal:
        """What the cart costs in the end."""
        return _total(self.lines)


def make_plan(run: str, seed: int, conversations: int) -> Iterator[ConversationPlan]:
    """Plan a run, one conversation after the other.

    Args:
        run: the run's id, which the ids of its conversations begin with.
        seed: the same seed gives the same calls.
        conversations: how many.
    """
    return (plan_conversation(run, seed, number) for number in range(1, conversations + 1))


def plan_conversation(run: str, seed: int, number: int) -> ConversationPlan:
    """Plan one conversation, by its ``number`` in the run, from 1; see :func:`make_plan`."""
    draft = _Draft(number, random.Random(f"{seed}:{number}"))  # noqa: S311 - a plan needs no secrets
    draft.log_in()
    draft.shop()
    draft.book()
    draft.check_out()
    return ConversationPlan(f"{run}-{number:05}", tuple(draft.steps), draft.lines, draft.fields)


def _total(lines: dict[str, tuple[int, Decimal]]) -> Decimal:
    return sum((quantity * price for quantity, price in lines.values()), Decimal(0))


@dataclass
class _Draft:
    """A conversation while it is planned: every step that is added moves the expected end state along."""

    number: int
    dice: random.Random
    steps: list[tuple[PlannedCall, ...]] = field(default_factory=list)
    lines: dict[str, tuple[int, Decimal]] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    planned: int = 0

    def log_in(self) -> None:
        customer = f"customer-{self.number:05}"
        self._step(self._call("log_in", customer=customer))
        self.fields |= {"customer": customer}

    def shop(self) -> None:
        first, contested, *others = self.dice.sample(list(CATALOGUE), 2 + self.dice.randint(0, 2))
        self._step(self._add(first))
        self._step(*[self._add(contested, again=position == 0) for position in range(PARALLEL_CALLS)])
        for sku in others:
            self._step(self._add(sku))
        quantity = self.dice.randint(1, 9)
        self._step(self._call("set_quantity", sku=first, quantity=quantity))
        self.lines[first] = (quantity, CATALOGUE[first])
        self._step(*[self._call("look_at_page", again=position == 0) for position in range(PARALLEL_CALLS)])
        self.fields["pages"] = PARALLEL_CALLS
        self._step(self._call("cart_total", answer=_total(self.lines)))
        if self.dice.random() < 0.5:
            self._step(self._call("remove_from_cart", sku=first))
            del self.lines[first]

    def book(self) -> None:
        check_in = _FIRST_NIGHT + timedelta(days=self.dice.randrange(365))
        nights, room = self.dice.randint(1, 14), self.dice.choice(ROOMS)
        self._step(self._call("choose_dates", check_in=check_in.isoformat(), nights=nights))
        self._step(self._call("choose_room", room=room))
        self._step(self._call("confirm_booking"))
        self.fields |= {"check_in": check_in, "check_out": check_in + timedelta(days=nights), "room": room}

    def check_out(self) -> None:
        self._step(self._call("check_out", answer=_total(self.lines)))
        self.fields["step"] = "paid"

    def _add(self, sku: str, again: bool = False) -> PlannedCall:
        quantity, price = self.dice.randint(1, 5), CATALOGUE[sku]
        self.lines[sku] = (self.lines.get(sku, (0, price))[0] + quantity, price)
        return self._call("add_to_cart", again=again, sku=sku, quantity=quantity, price=str(price))

    def _call(self, tool: str, *, again: bool = False, answer: Decimal | None = None, **arguments: Any) -> PlannedCall:
        self.planned += 1
        mark = f"{self.number:05}.{self.planned:02}"
        return PlannedCall(mark, tool, {"mark": mark, **arguments}, again, answer)

    def _step(self, *calls: PlannedCall) -> None:
        self.steps.append(calls)
