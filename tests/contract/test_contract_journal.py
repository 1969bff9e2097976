"""The journal's promise, held against a model: operations of one writer arrive in any order, late, and repeatedly.

A writer numbers its operations and sends with each its floor, the oldest one without an answer. Whatever the network
does to the order, each operation is applied once, each repeat from the floor on gets the first result, and what lies
below the floor is refused unless the journal still knows its result.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from redstate import _scripts
from redstate._writers import FIRST_SEQUENCE

INCREMENT = _scripts.load("state_increment")
_numbers = itertools.count()


@pytest.fixture
def colour() -> str:
    return "sync"  # neither colour is used


@dataclass
class Pen:
    """A writer as the model has it: begins operations, learns of answers, and so raises its floor."""

    unanswered: list[int] = field(default_factory=list)
    begun: int = 0

    def begin(self) -> str:
        number = FIRST_SEQUENCE + self.begun
        self.begun += 1
        self.unanswered.append(number)
        floor = self.unanswered[0]
        return str(number) if floor == number else f"{number}|{floor}"

    def settle(self, op: str) -> None:
        number = int(op[:10])
        if number in self.unanswered:
            self.unanswered.remove(number)


def send(raw: redis.Redis, key: str, op: str) -> bytes:
    """Run the increment as the writer "w", for its entry in the journal; the code of an error reply stands for it."""
    try:
        return bytes(raw.evalsha(INCREMENT.sha, 1, key, "jw", op, "60000", "", "sn", "1", "1000"))[16:]
    except redis.ResponseError as error:
        return str(error).split()[0].encode()


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_operations_in_any_order_are_applied_once_each(raw: redis.Redis, prefix: str, data: st.DataObject) -> None:
    raw.script_load(INCREMENT.source)
    key = f"{prefix}:{{conv:{next(_numbers)}}}"
    pen, flying, first, applied = Pen(), [], {}, 0
    for _ in range(data.draw(st.integers(1, 30), "steps")):
        step = data.draw(st.sampled_from(["begin", "deliver", "deliver", "repeat", "answer"]), "step")
        if step == "begin":
            flying.append(pen.begin())
        elif step == "deliver" and flying:
            op = data.draw(st.sampled_from(flying), "op")
            reply = send(raw, key, op)
            if op not in first:
                applied += 1
                first[op] = reply
                assert reply.split()[-1] == str(applied).encode()
            assert reply == first[op]
        elif step == "repeat" and first:
            # A copy that the network kept. Once its writer has an answer it may be forgotten, but never redone.
            op = data.draw(st.sampled_from(sorted(first)), "copy")
            reply = send(raw, key, op)
            assert reply == first[op] or (op not in flying and reply == b"RSSTALE")
        elif step == "answer" and (answered := [op for op in flying if op in first]):
            op = data.draw(st.sampled_from(answered), "answered")
            flying.remove(op)
            pen.settle(op)
        assert int(raw.hget(key, "sn") or 0) == applied


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(6)))
def test_a_batch_that_arrives_in_any_order_is_applied_whole(raw: redis.Redis, prefix: str, order: list[int]) -> None:
    raw.script_load(INCREMENT.source)
    key = f"{prefix}:{{conv:batch-{next(_numbers)}}}"
    pen = Pen()
    batch = [pen.begin() for _ in range(6)]
    replies = {number: send(raw, key, batch[number]) for number in order}
    assert sorted(int(reply.split()[-1]) for reply in replies.values()) == [1, 2, 3, 4, 5, 6]
    assert {number: send(raw, key, batch[number]) for number in reversed(order)} == replies


def test_an_operation_below_the_floor_is_refused_and_changes_nothing(raw: redis.Redis, prefix: str) -> None:
    raw.script_load(INCREMENT.source)
    key = f"{prefix}:{{conv:c}}"
    assert send(raw, key, f"{FIRST_SEQUENCE + 5}").split()[-1] == b"1"
    image = raw.hgetall(key)
    for late in range(5):
        assert send(raw, key, f"{FIRST_SEQUENCE + late}") == b"RSSTALE"
        assert send(raw, key, f"{FIRST_SEQUENCE + late}|{FIRST_SEQUENCE}") == b"RSSTALE"
    assert raw.hgetall(key) == image


def test_a_given_up_operation_that_arrives_after_a_newer_one_is_not_applied(raw: redis.Redis, prefix: str) -> None:
    raw.script_load(INCREMENT.source)
    key, pen = f"{prefix}:{{conv:c}}", Pen()
    given_up = pen.begin()
    pen.settle(given_up)
    assert send(raw, key, pen.begin()).split()[-1] == b"1"
    assert send(raw, key, given_up) == b"RSSTALE"
    assert raw.hget(key, "sn") == b"1"


def test_the_journal_shrinks_to_one_entry_once_all_is_answered(raw: redis.Redis, prefix: str) -> None:
    raw.script_load(INCREMENT.source)
    key, pen = f"{prefix}:{{conv:c}}", Pen()
    batch = [pen.begin() for _ in range(20)]
    for op in batch:
        send(raw, key, op)
    assert len(raw.hget(key, "jw")) > 400
    for op in batch:
        pen.settle(op)
    send(raw, key, pen.begin())
    assert len(raw.hget(key, "jw")) < 40
