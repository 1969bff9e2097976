"""Compares what lies in the server with the plan. Nothing here knows what the workers believe to have done."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from redstate import AsyncStore
from redstate.demo import facts as run_facts
from redstate.demo.facts import Facts
from redstate.demo.plan import ConversationPlan, make_plan
from redstate.errors import DataError

_LOG = "log"
_AT_ONCE = 200


@dataclass
class Check:
    """One invariant: what it says, how many things were looked at, and what went against it."""

    name: str
    unit: str
    looked_at: int = 0
    violations: list[str] = field(default_factory=list)

    def look(self, count: int, *violations: str) -> None:
        """Count ``count`` things as looked at, and keep what is wrong with them."""
        self.looked_at += count
        self.violations.extend(violations)


@dataclass
class Books:
    """The invariants of a run and, by number of the worker, how many calls each served."""

    carts: Check = field(default_factory=lambda: Check("every cart's lines and sum exact", "carts"))
    lost: Check = field(default_factory=lambda: Check("no tool call lost", "calls"))
    doubled: Check = field(default_factory=lambda: Check("no tool call doubled", "calls"))
    strays: Check = field(default_factory=lambda: Check("none in the wrong conversation", "log entries"))
    state: Check = field(default_factory=lambda: Check("every count, date and step as planned", "fields"))
    versions: Check = field(default_factory=lambda: Check("versions rose to the last answered one", "versions"))
    owners: Check = field(default_factory=lambda: Check("one owner at a time, with a token that rises", "owners"))
    observed: Check = field(default_factory=lambda: Check("every answer as planned", "answers"))
    shares: Counter[int] = field(default_factory=Counter)

    @property
    def checks(self) -> tuple[Check, ...]:
        """All invariants."""
        return (
            self.carts, self.lost, self.doubled, self.strays,
            self.state, self.versions, self.owners, self.observed,
        )  # fmt: skip

    @property
    def violations(self) -> list[str]:
        """Everything that went against an invariant."""
        return [violation for check in self.checks for violation in check.violations]


@dataclass(frozen=True, slots=True)
class Seen:
    """A conversation as it lies in the server: lines by sku as quantity and price, and the exact sum."""

    version: int
    state: dict[str, Any]
    lines: dict[str, tuple[int, Decimal | None]]
    total: Decimal


async def verify(store: AsyncStore, run: str | None = None) -> tuple[Facts, Books]:
    """Check a run, the latest kept one where none is named, from nothing but the server.

    Raises:
        ConfigurationError: there is none.
        StoreError: the server cannot be read.
    """
    facts, versions = await run_facts.load(store, run)
    plans = list(make_plan(facts.run, facts.seed, facts.conversations))
    books = Books()
    planned = sum(len(plan.calls) for plan in plans)
    books.observed.look(facts.answered, *facts.observed)
    if facts.answered != planned:
        books.lost.look(0, f"{facts.answered:,} of {planned:,} planned calls were answered")
    for start in range(0, len(plans), _AT_ONCE):
        some = plans[start : start + _AT_ONCE]
        found = await asyncio.gather(*[_read(store, plan.id) for plan in some])
        for plan, seen, version in zip(some, found, versions[start : start + _AT_ONCE], strict=True):
            if isinstance(seen, Seen):
                check_conversation(books, plan, seen, version)
            else:
                books.state.look(1, f"{plan.id}: {seen}")
    return facts, books


async def _read(store: AsyncStore, conversation_id: str) -> Seen | str:
    conv = store.conversation(conversation_id)
    try:
        lines = await conv.cart.lines()
        return Seen(
            version=await conv.version(),
            state=await conv.state.all(),
            lines={sku: (line.quantity, line.price) for sku, line in lines.items()},
            total=await conv.cart.total(),
        )
    except DataError as error:
        return error.message


def check_conversation(books: Books, plan: ConversationPlan, seen: Seen, answered_version: int) -> None:
    """Hold one conversation against its plan.

    Args:
        books: where the findings go.
        plan: what it should be.
        seen: what the server holds.
        answered_version: the version that its last answer named.
    """
    _check_cart(books.carts, plan, seen)
    _check_fields(books.state, plan, seen)
    _check_log(books, plan, seen)
    wrong = "" if seen.version == answered_version else f"{plan.id}: version {seen.version}, not {answered_version}"
    books.versions.look(1, *filter(None, [wrong]))


def _check_cart(check: Check, plan: ConversationPlan, seen: Seen) -> None:
    check.look(1)
    for sku in sorted({*plan.lines, *seen.lines}):
        if seen.lines.get(sku) != plan.lines.get(sku):
            found, expected = _line(seen.lines.get(sku)), _line(plan.lines.get(sku))
            check.look(0, f"{plan.id}: cart line {sku} is {found}, not {expected}")
    if seen.total != plan.total:
        check.look(0, f"{plan.id}: the cart costs {seen.total}, not {plan.total}")


def _line(line: tuple[int, Decimal | None] | None) -> str:
    return "absent" if line is None else f"{line[0]} at {line[1]}"


def _check_fields(check: Check, plan: ConversationPlan, seen: Seen) -> None:
    found = {name: value for name, value in seen.state.items() if name != _LOG}
    check.look(len(plan.fields))
    for name in sorted({*plan.fields, *found}):
        value, expected = found.get(name), plan.fields.get(name)
        if type(value) is not type(expected) or value != expected:
            check.look(0, f"{plan.id}: field {name} is {value!r}, not {expected!r}")


def _check_log(books: Books, plan: ConversationPlan, seen: Seen) -> None:
    planned = {call.mark for call in plan.calls}
    entries = seen.state.get(_LOG)
    served: list[tuple[int, int]] = []
    times: Counter[str] = Counter()
    for entry in entries if isinstance(entries, list) else []:
        books.strays.look(1)
        match entry:
            case {
                "conversation": plan.id,
                "mark": str(mark),
                "worker": int(worker),
                "process": int(process),
                "token": int(token),
            } if mark in planned:
                times[mark] += 1
                books.shares[worker] += 1
                served.append((token, process))
            case _:
                books.strays.look(0, f"{plan.id}: its log holds {str(entry)[:200]}")
    books.lost.look(len(planned), *[f"{plan.id}: call {mark} left no entry" for mark in sorted(planned - {*times})])
    doubles = [f"{plan.id}: call {mark} left {count} entries" for mark, count in sorted(times.items()) if count > 1]
    books.doubled.look(len(planned), *doubles)
    _check_owners(books.owners, plan, served)


def _check_owners(check: Check, plan: ConversationPlan, served: list[tuple[int, int]]) -> None:
    """The log has its entries in the order in which the server took them: each with its owner's token and process."""
    owners = list(dict.fromkeys(served))
    check.look(len(owners))
    tokens = [token for token, _ in served]
    if tokens != sorted(tokens):
        check.look(0, f"{plan.id}: an owner wrote after its conversation was taken over")
    if len({token for token, _ in owners}) < len(owners):
        check.look(0, f"{plan.id}: several processes wrote under one token")
