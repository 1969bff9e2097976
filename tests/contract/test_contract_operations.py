"""Versions, conditions on them, and operation ids: a change happens once, and only where it was meant to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from contract.records import Record

from redstate import Step, Workflow, errors

FUTURE = 4_000_000_000_000_000  # a version that no clock has reached

Change = Callable[..., Any]
FLOW = Workflow("flow", [Step("a", collects={"n": int}, next=["a", "b"]), Step("b", final=True)])

CHANGES: dict[str, Change] = {
    "state.set": lambda conversation, **named: conversation.state.set("a", 1, **named),
    "state.delete": lambda conversation, **named: conversation.state.delete("a", **named),
    "state.increment": lambda conversation, **named: conversation.state.increment("n", **named),
    "state.append": lambda conversation, **named: conversation.state.append("list", "x", **named),
    "cart.add": lambda conversation, **named: conversation.cart.add("sku", 2, "1.50", **named),
    "cart.set_quantity": lambda conversation, **named: conversation.cart.set_quantity("sku", 7, **named),
    "cart.remove": lambda conversation, **named: conversation.cart.remove("sku", **named),
    "cart.clear": lambda conversation, **named: conversation.cart.clear(**named),
    "session.login": lambda conversation, **named: conversation.session.login("user-7", **named),
    "session.logout": lambda conversation, **named: conversation.session.logout(**named),
    "workflow.collect": lambda conversation, **named: conversation.workflow(FLOW).collect(n=2, **named),
    "workflow.advance": lambda conversation, **named: conversation.workflow(FLOW).advance("a", n=3, **named),
    "delete": lambda conversation, **named: conversation.delete(**named),
}


@pytest.fixture(params=CHANGES)
def verb(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def filled(conversation: Any) -> Any:
    """A conversation on which every change has something to change."""
    conversation.state.update(a=0, n=5, list=[])
    conversation.cart.add("sku", 1, "1.50")
    return conversation


def test_the_version_is_zero_before_anything_is_there(conversation: Any) -> None:
    assert conversation.version() == 0
    assert conversation.exists() is False


def test_every_change_raises_the_version(filled: Any, verb: str) -> None:
    before = filled.version()
    CHANGES[verb](filled)
    after = filled.version()
    assert after > before or (verb == "delete" and after == 0)


def test_changes_that_return_a_version_return_the_new_one(conversation: Any) -> None:
    state, seen = conversation.state, []
    for change in (lambda: state.set("a", 1), lambda: state.update(b=2), lambda: state.append("l", 1)):
        seen.append(change())
        assert conversation.version() == seen[-1]
    assert seen == sorted(set(seen))


def test_reads_do_not_change_the_version(filled: Any) -> None:
    before = filled.version()
    filled.state.get("a"), filled.state.all(), filled.cart.lines(), filled.cart.total(), filled.ttl(), filled.touch()
    assert filled.version() == before


def test_the_version_rises_although_the_clock_stepped_back(conversation: Any, record: Record) -> None:
    conversation.state.set("a", 1)
    record.poke("v", str(FUTURE))
    assert [conversation.state.set("a", number) - FUTURE for number in range(3)] == [1, 2, 3]


def test_a_change_at_the_expected_version_is_made(filled: Any, verb: str) -> None:
    CHANGES[verb](filled, expected_version=filled.version())


def test_a_change_at_another_version_is_refused_with_data(filled: Any, record: Record, verb: str) -> None:
    stale = filled.version()
    current = filled.state.set("other", 1)
    image = record.image()
    with pytest.raises(errors.ConflictError) as caught:
        CHANGES[verb](filled, expected_version=stale)
    error = caught.value
    assert (error.expected_version, error.current_version, error.key) == (stale, current, filled.key)
    assert record.image() == image


def test_version_zero_means_that_there_must_be_nothing(conversation: Any, record: Record) -> None:
    created = conversation.state.set("a", 1, expected_version=0)
    with pytest.raises(errors.ConflictError) as caught:
        conversation.state.set("a", 2, expected_version=0)
    assert (caught.value.expected_version, caught.value.current_version) == (0, created)
    conversation.delete()
    assert conversation.state.set("a", 3, expected_version=0) > created


def test_an_expected_version_of_what_is_absent_is_a_conflict_with_zero(conversation: Any, record: Record) -> None:
    with pytest.raises(errors.ConflictError) as caught:
        conversation.state.set("a", 1, expected_version=17)
    assert caught.value.current_version == 0
    assert record.fields() == {}


@pytest.mark.parametrize("version", [-1, 1.0, "1", True, [1]], ids=repr)
def test_an_expected_version_that_is_none_is_refused(conversation: Any, version: Any) -> None:
    with pytest.raises(errors.InvalidInput):
        conversation.state.set("a", 1, expected_version=version)
    assert not conversation.exists()


def test_a_repeated_op_id_returns_the_first_result_and_changes_nothing(filled: Any, record: Record, verb: str) -> None:
    first = CHANGES[verb](filled, op_id="order-17")
    image = record.image()
    assert CHANGES[verb](filled, op_id="order-17") == first
    assert record.image() == image


def test_the_first_result_is_kept_whatever_happened_since(filled: Any) -> None:
    assert filled.state.increment("n", op_id="once") == 6
    filled.state.set("n", 100)
    assert filled.state.increment("n", op_id="once") == 6
    assert filled.state.increment("n") == 101


def test_a_repeat_is_answered_even_if_its_expected_version_is_past(filled: Any) -> None:
    version = filled.version()
    first = filled.state.set("a", 1, op_id="x", expected_version=version)
    assert filled.state.set("a", 1, op_id="x", expected_version=version) == first


def test_a_refused_change_leaves_its_op_id_free(filled: Any) -> None:
    with pytest.raises(errors.ConflictError):
        filled.state.increment("n", op_id="x", expected_version=1)
    assert filled.state.increment("n", op_id="x") == 6


def test_op_ids_of_different_conversations_are_different(store: Any) -> None:
    one, two = store.conversation("one"), store.conversation("two")
    assert [one.state.increment("n", op_id="x"), two.state.increment("n", op_id="x")] == [1, 1]
    assert two.state.get("n") == 1


def test_an_op_id_is_shared_by_all_stores(open_store: Any) -> None:
    one, two = open_store().conversation("c"), open_store().conversation("c")
    assert [one.state.increment("n", op_id="x"), two.state.increment("n", op_id="x")] == [1, 1]


def test_an_op_id_of_one_change_cannot_name_another(filled: Any, record: Record, verb: str) -> None:
    CHANGES[verb](filled, op_id="x")
    image = record.image()
    for other in CHANGES.keys() - {verb}:
        with pytest.raises(errors.OperationMismatch) as caught:
            CHANGES[other](filled, op_id="x")
        assert caught.value.op_id == "x"
        assert record.image() == image


@pytest.mark.parametrize("op_id", ["a b", "{}", "\r\n", "é", "x" * 256, "1000000000", "!", "abcdefgh.1000000000"])
def test_any_text_can_be_an_op_id(conversation: Any, op_id: str) -> None:
    assert [conversation.state.increment("n", op_id=op_id) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("op_id", ["", 7, b"x", "x" * 257, "\ud800"], ids=repr)
def test_what_is_no_text_cannot_be_an_op_id(conversation: Any, op_id: Any) -> None:
    with pytest.raises(errors.InvalidField):
        conversation.state.increment("n", op_id=op_id)
    assert not conversation.exists()


def test_a_late_repeat_after_delete_is_not_applied_again(filled: Any) -> None:
    first = filled.state.increment("n", op_id="late")
    assert filled.delete() is True
    assert filled.state.increment("n", op_id="late") == first
    assert (filled.exists(), filled.state.all(), filled.cart.lines()) == (False, {}, {})


def test_journals_of_long_silent_writers_go_when_a_new_one_comes(open_store: Any, record: Record) -> None:
    record.poke("v", "1600000000000000")
    for number in range(80):
        record.poke(f"jwriter{number:02}", f"1000000000si 16000000000000{number:02} 1")
    open_store().conversation("conv_123").state.set("a", 1)
    assert len(record.fields("j")) <= 64


def test_journals_are_bounded_however_many_op_ids_there_are(conversation: Any, record: Record) -> None:
    for number in range(1_050):
        conversation.state.set("a", number, op_id=f"op-{number}")
    assert len(record.fields("j")) <= 1_024


def test_a_busy_writer_keeps_one_short_journal(conversation: Any, record: Record) -> None:
    for _ in range(50):
        conversation.state.increment("n")
    (journal,) = record.fields("j").values()
    assert len(journal) < 64


def test_an_op_id_that_looks_like_a_name_and_a_time_is_the_callers_own(conversation: Any, record: Record) -> None:
    for number in range(20):
        conversation.state.increment("n", op_id=f"order-77.17000000{number:02}")
    assert conversation.state.get("n") == 20
    assert max(len(journal) for journal in record.fields("j").values()) < 40
