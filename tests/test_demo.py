"""The demo's plan, its worker processes, and the check of its books, which must notice every kind of damage."""

import asyncio
import re
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
import redis

from redstate import AsyncStore, Store
from redstate.demo import facts as run_facts
from redstate.demo.display import Silent
from redstate.demo.errors import DemoFailed
from redstate.demo.facts import Facts
from redstate.demo.plan import CATALOGUE, ConversationPlan, make_plan
from redstate.demo.run import DemoOptions, run_demo
from redstate.demo.verify import Books, Seen, check_conversation, verify
from redstate.embedded import EmbeddedServer
from redstate.errors import ConfigurationError

SMALL = DemoOptions(conversations=6, concurrency=3, workers=2)
CALM = replace(SMALL, trouble=False)
PREFIX = "demo-under-test"


def plans(seed: int = 7, count: int = 40) -> list[ConversationPlan]:
    return list(make_plan("run", seed, count))


def replay(plan: ConversationPlan) -> tuple[dict[str, tuple[int, Decimal]], dict[str, Any]]:
    """Do a plan's calls one after the other, in the plainest way."""
    lines: dict[str, tuple[int, Decimal]] = {}
    fields: dict[str, Any] = {}
    for call in plan.calls:
        arguments = call.arguments
        match call.tool:
            case "add_to_cart":
                price = Decimal(arguments["price"])
                before = lines.get(arguments["sku"], (0, price))[0]
                lines[arguments["sku"]] = (before + arguments["quantity"], price)
            case "set_quantity":
                lines[arguments["sku"]] = (arguments["quantity"], CATALOGUE[arguments["sku"]])
            case "remove_from_cart":
                del lines[arguments["sku"]]
            case "look_at_page":
                fields["pages"] = fields.get("pages", 0) + 1
            case "log_in":
                fields["customer"] = arguments["customer"]
            case "choose_dates":
                fields["check_in"] = date.fromisoformat(arguments["check_in"])
                fields["check_out"] = date.fromordinal(fields["check_in"].toordinal() + arguments["nights"])
            case "choose_room":
                fields["room"] = arguments["room"]
            case "check_out":
                fields["step"] = "paid"
    return lines, fields


# The plan


def test_a_seed_always_gives_the_same_plan_and_another_seed_another() -> None:
    assert plans(seed=7) == plans(seed=7)
    assert plans(seed=7) != plans(seed=8)


def test_a_larger_run_begins_with_the_conversations_of_a_smaller_one() -> None:
    assert plans(count=40)[:10] == plans(count=10)


def test_every_conversation_has_at_least_twelve_calls_with_marks_of_their_own() -> None:
    every = plans()
    marks = [call.mark for plan in every for call in plan.calls]
    assert min(len(plan.calls) for plan in every) >= 12
    assert len(set(marks)) == len(marks)
    assert all(call.arguments["mark"] == call.mark for plan in every for call in plan.calls)


def test_parallel_calls_change_one_thing_and_one_of_them_is_delivered_twice() -> None:
    for plan in plans():
        groups = [step for step in plan.steps if len(step) > 1]
        assert [{call.tool for call in step} for step in groups] == [{"add_to_cart"}, {"look_at_page"}]
        assert len({call.arguments["sku"] for call in groups[0]}) == 1
        assert [[call.again for call in step] for step in groups] == [[True, False, False, False]] * 2


def test_the_expected_end_is_what_the_calls_add_up_to() -> None:
    for plan in plans():
        assert replay(plan) == (plan.lines, plan.fields)
        answers = [call.answer for call in plan.calls if call.tool == "check_out"]
        assert answers == [plan.total]


# The check of one conversation


def perfect(plan: ConversationPlan) -> Seen:
    owner = {"worker": 1, "process": 100, "token": 7}
    entries = [{"conversation": plan.id, "mark": call.mark, **owner} for call in plan.calls]
    return Seen(version=9, state={**plan.fields, "log": entries}, lines=dict(plan.lines), total=plan.total)


def check(plan: ConversationPlan, seen: Seen) -> Books:
    books = Books()
    check_conversation(books, plan, seen, 9)
    return books


def test_a_conversation_as_planned_has_no_violations() -> None:
    for plan in plans():
        books = check(plan, perfect(plan))
        assert books.violations == []
        assert sum(books.shares.values()) == len(plan.calls)


def test_a_price_that_is_off_by_the_last_digit_is_reported() -> None:
    plan = plans()[0]
    sku, (quantity, price) = next(iter(plan.lines.items()))
    wrong = replace(perfect(plan), lines={**plan.lines, sku: (quantity, price + Decimal("0.01"))})
    assert check(plan, wrong).carts.violations == [
        f"{plan.id}: cart line {sku} is {quantity} at {price + Decimal('0.01')}, not {quantity} at {price}"
    ]


def test_a_wrong_sum_is_reported_though_the_lines_are_right() -> None:
    plan = plans()[0]
    wrong = replace(perfect(plan), total=plan.total + Decimal("0.01"))
    assert check(plan, wrong).carts.violations == [
        f"{plan.id}: the cart costs {plan.total + Decimal('0.01')}, not {plan.total}"
    ]


def test_a_date_that_came_back_as_text_is_reported() -> None:
    plan = plans()[0]
    seen = perfect(plan)
    seen.state["check_in"] = seen.state["check_in"].isoformat()
    assert len(check(plan, seen).state.violations) == 1


def test_an_owner_that_wrote_after_a_newer_one_is_reported() -> None:
    plan = plans()[0]
    seen = perfect(plan)
    seen.state["log"][2] |= {"token": 8, "process": 200}
    assert check(plan, seen).owners.violations == [f"{plan.id}: an owner wrote after its conversation was taken over"]


def test_two_processes_under_one_token_are_reported() -> None:
    plan = plans()[0]
    seen = perfect(plan)
    seen.state["log"][2]["process"] = 200
    assert check(plan, seen).owners.violations == [f"{plan.id}: several processes wrote under one token"]


def test_a_take_over_is_no_violation() -> None:
    plan = plans()[0]
    seen = perfect(plan)
    for entry in seen.state["log"][3:]:
        entry |= {"token": 8, "process": 200, "worker": 2}
    books = check(plan, seen)
    assert books.violations == []
    assert books.owners.looked_at == 2


def test_an_unchanged_version_is_reported() -> None:
    plan = plans()[0]
    assert check(plan, replace(perfect(plan), version=8)).versions.violations == [f"{plan.id}: version 8, not 9"]


def test_a_log_that_is_no_list_counts_as_lost_calls() -> None:
    plan = plans()[0]
    seen = perfect(plan)
    seen.state["log"] = "gone"
    assert len(check(plan, seen).lost.violations) == len(plan.calls)


# A run on a real server, and damage to what it left


@dataclass
class KeptRun:
    url: str
    facts: Facts
    books: Books

    def verify(self) -> Books:
        async def again() -> Books:
            async with AsyncStore.from_url(self.url, key_prefix=PREFIX) as store:
                return (await verify(store))[1]

        return asyncio.run(again())


@pytest.fixture(scope="module")
def kept_run() -> Iterator[KeptRun]:
    with EmbeddedServer.start() as server:
        yield KeptRun(server.url, *asyncio.run(run_demo(server.url, SMALL, Silent(), keep=True, key_prefix=PREFIX)))


@pytest.fixture
def victim(kept_run: KeptRun) -> Iterator[Any]:
    """One of the run's conversations, free to be damaged: it is restored afterwards."""
    with Store.from_url(kept_run.url, key_prefix=PREFIX) as store, redis.Redis.from_url(kept_run.url) as client:
        conv = store.conversation(f"{kept_run.facts.run}-00002")
        before = client.dump(conv.key)
        # It may have ended, or not yet. Opened past redstate: by resume() its version would rise.
        fence = client.hget(conv.key, "f") or b""
        client.hset(conv.key, "f", fence.lstrip(b"~"))
        yield conv
        client.restore(conv.key, 0, before, replace=True)


def plan_of(kept_run: KeptRun) -> ConversationPlan:
    return list(make_plan(kept_run.facts.run, SMALL.seed, SMALL.conversations))[1]


def test_a_run_keeps_its_books_and_they_can_be_checked_again(kept_run: KeptRun) -> None:
    planned = sum(len(p.calls) for p in make_plan("any", SMALL.seed, SMALL.conversations))
    again = kept_run.verify()
    assert kept_run.books.violations == []
    assert again == kept_run.books
    assert kept_run.facts.answered == planned
    assert sum(again.shares.values()) == planned
    assert set(again.shares) <= {1, 2}
    assert (kept_run.facts.killed, kept_run.facts.replaced) == (1, 1)
    assert kept_run.facts.delivered_twice == 2 * SMALL.conversations


def test_a_changed_cart_line_is_reported(kept_run: KeptRun, victim: Any) -> None:
    sku, line = next(iter(victim.cart.lines().items()))
    victim.cart.set_quantity(sku, line.quantity + 1)
    books = kept_run.verify()
    expected = (
        f"{victim.id}: cart line {sku} is {line.quantity + 1} at {line.price}, not {line.quantity} at {line.price}"
    )
    assert books.carts.violations[0] == expected
    assert len(books.carts.violations) == 2
    assert len(books.violations) == 3  # and the version is no longer the answered one


def test_a_doubled_log_entry_is_reported(kept_run: KeptRun, victim: Any) -> None:
    # The newest: an older one, from before a take-over, would be one of an owner that wrote too late as well.
    entry = victim.state.get("log")[-1]
    victim.state.append("log", entry)
    books = kept_run.verify()
    assert books.doubled.violations == [f"{victim.id}: call {entry['mark']} left 2 entries"]
    assert len(books.violations) == 2


def test_a_missing_log_entry_is_reported(kept_run: KeptRun, victim: Any) -> None:
    entries = victim.state.get("log")
    victim.state.set("log", entries[1:])
    books = kept_run.verify()
    assert books.lost.violations == [f"{victim.id}: call {entries[0]['mark']} left no entry"]
    assert len(books.violations) == 2


def test_an_entry_of_another_conversation_is_reported(kept_run: KeptRun, victim: Any) -> None:
    entry = {**victim.state.get("log")[0], "conversation": f"{kept_run.facts.run}-00001"}
    victim.state.append("log", entry)
    books = kept_run.verify()
    assert books.strays.violations == [f"{victim.id}: its log holds {entry}"]
    assert len(books.violations) == 2


def test_a_mark_of_another_conversation_is_reported(kept_run: KeptRun, victim: Any) -> None:
    entry = {**victim.state.get("log")[0], "mark": "00001.01"}
    victim.state.append("log", entry)
    assert kept_run.verify().strays.violations == [f"{victim.id}: its log holds {entry}"]


def test_a_lost_increment_is_reported(kept_run: KeptRun, victim: Any) -> None:
    victim.state.increment("pages", -1)
    assert kept_run.verify().state.violations == [f"{victim.id}: field pages is 3, not 4"]


def test_a_conversation_that_is_gone_is_reported(kept_run: KeptRun, victim: Any) -> None:
    victim.delete()
    books = kept_run.verify()
    assert len(books.lost.violations) == len(plan_of(kept_run).calls)
    assert len(books.versions.violations) == 1


def test_bytes_that_redstate_did_not_write_are_reported(kept_run: KeptRun, victim: Any) -> None:
    with redis.Redis.from_url(kept_run.url) as client:
        client.hset(victim.key, "sstep", b"\xff\xfe")
    assert len(kept_run.verify().state.violations) == 1


def test_a_call_without_an_answer_is_reported(kept_run: KeptRun) -> None:
    async def forget_one() -> Books:
        async with AsyncStore.from_url(kept_run.url, key_prefix=PREFIX) as store:
            facts, versions = await run_facts.load(store)
            try:
                await run_facts.save(store, replace(facts, answered=facts.answered - 1), versions)
                return (await verify(store))[1]
            finally:
                await run_facts.save(store, facts, versions)

    answered = kept_run.facts.answered
    violations = asyncio.run(forget_one()).violations
    assert violations == [f"{answered - 1} of {answered} planned calls were answered"]


def test_damaged_facts_are_refused_in_words(kept_run: KeptRun) -> None:
    async def scenario() -> None:
        async with AsyncStore.from_url(kept_run.url, key_prefix=PREFIX) as store:
            facts, versions = await run_facts.load(store)
            try:
                await store.conversation(f"demo:{facts.run}").state.delete("versions.0")
                with pytest.raises(ConfigurationError, match="damaged"):
                    await run_facts.load(store)
            finally:
                await run_facts.save(store, facts, versions)

    asyncio.run(scenario())


def test_without_keep_nothing_of_the_run_stays(kept_run: KeptRun) -> None:
    async def scenario() -> list[bool]:
        options = replace(CALM, conversations=2)
        facts, _ = await run_demo(kept_run.url, options, Silent(), key_prefix="not-kept")
        async with AsyncStore.from_url(kept_run.url, key_prefix="not-kept") as store:
            ids = [plan.id for plan in make_plan(facts.run, 1, 2)] + ["demo", f"demo:{facts.run}"]
            return [await store.conversation(one).exists() for one in ids]

    assert asyncio.run(scenario()) == [False] * 4


def test_a_run_that_is_not_kept_leaves_the_kept_one_to_be_found(kept_run: KeptRun) -> None:
    async def scenario() -> tuple[str, str]:
        async with AsyncStore.from_url(kept_run.url, key_prefix=PREFIX) as store:
            kept, _ = await verify(store)
            await run_demo(kept_run.url, replace(CALM, conversations=2), Silent(), key_prefix=PREFIX)
            found, _ = await verify(store)
            return kept.run, found.run

    kept, found = asyncio.run(scenario())
    assert found == kept


# Trouble


class Notes(Silent):
    """Keeps what a person would be shown."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_person_sees_who_is_killed_and_who_takes_over(kept_run: KeptRun) -> None:
    notes, options = Notes(), DemoOptions(conversations=40, concurrency=20, workers=2)
    facts, books = asyncio.run(run_demo(kept_run.url, options, notes, key_prefix="troubled"))
    assert books.violations == []
    killed = re.fullmatch(r"Worker ([12]) is killed \(SIGKILL\) in the middle of its calls", notes.notes[0])
    assert killed is not None
    other = 3 - int(killed[1])
    taken = [re.fullmatch(r"Worker \d took over ([\d,]+) conversations?, \d+\.\d s later", one) for one in notes.notes]
    assert sum(int(one[1]) for one in taken if one) == facts.taken_over > 0
    assert any(one.startswith(f"Worker {other} is replaced (SIGTERM)") for one in notes.notes)
    assert any(one.startswith(f"Worker {other} was replaced after ") for one in notes.notes)


def test_a_calm_run_leaves_the_workers_alone(kept_run: KeptRun) -> None:
    notes = Notes()
    facts, books = asyncio.run(run_demo(kept_run.url, CALM, notes, key_prefix="calm"))
    assert (books.violations, notes.notes) == ([], [])
    assert (facts.killed, facts.replaced, facts.taken_over) == (0, 0, 0)


def test_workers_that_cannot_start_end_the_demo_with_their_last_words() -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            stack.enter_context(pytest.MonkeyPatch.context()).setenv("REDSTATE_TIMEOUT", "no number")
            server = stack.enter_context(EmbeddedServer.start())
            await run_demo(server.url, replace(SMALL, timeout=2.0), Silent(), key_prefix="broken")

    with pytest.raises((DemoFailed, ConfigurationError), match="REDSTATE_TIMEOUT"):
        asyncio.run(scenario())
