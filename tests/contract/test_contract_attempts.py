"""Attempts to log in: counted before they are made, for the conversation and for the user, exactly."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
import servers

from redstate import errors

WORKER = Path(__file__).with_name("attempt_worker.py")
BRIEF = 0.05  # seconds: short enough to be waited for


def too_many(attempt: Callable[[], Any]) -> tuple[str, float]:
    with pytest.raises(errors.TooManyAttempts) as caught:
        attempt()
    return caught.value.scope, caught.value.retry_after


def test_attempts_are_counted_down_and_then_refused(conversation: Any) -> None:
    attempt = conversation.session.attempt
    assert [attempt("ada", limit=3) for _ in range(3)] == [2, 1, 0]
    scope, first = too_many(lambda: attempt("ada", limit=3))
    assert scope == "conversation"
    assert 240 < first <= 300
    # A refused attempt does not prolong the wait.
    assert too_many(lambda: attempt("ada", limit=3))[1] <= first
    assert not conversation.exists()


def test_a_user_is_counted_across_conversations(store: Any) -> None:
    for number in range(3):
        store.conversation(f"c{number}").session.attempt("ada", limit=3, lockout=20)
    scope, retry_after = too_many(lambda: store.conversation("c9").session.attempt("ada", limit=3, lockout=20))
    assert scope == "user"
    assert 0 < retry_after <= 20
    assert store.conversation("c9").session.attempt("bob", limit=3) == 1


def test_a_conversation_that_is_locked_out_does_not_lock_out_users(store: Any) -> None:
    bad = store.conversation("bad").session
    bad.attempt("eve", limit=1)
    for _ in range(5):
        assert too_many(lambda: bad.attempt("ada", limit=1))[0] == "conversation"
    assert store.conversation("good").session.attempt("ada", limit=1) == 0


def test_a_name_written_in_another_way_gets_no_further_attempts(store: Any) -> None:
    for number, name in enumerate(["Ada", " ada ", "ADA", "\uff41da"]):
        store.conversation(f"c{number}").session.attempt(name, limit=4)
    assert too_many(lambda: store.conversation("c9").session.attempt("ada", limit=4))[0] == "user"


def test_logging_in_forgets_the_attempts_of_conversation_and_user(store: Any) -> None:
    session = store.conversation("c").session
    session.attempt("ada", limit=1)
    session.login("user-7", username="ada")
    assert session.attempt("ada", limit=1) == 0
    session.login("ada")
    assert session.attempt("ada", limit=1) == 0


def test_deleting_the_conversation_does_not_give_further_attempts(conversation: Any) -> None:
    conversation.session.attempt("ada", limit=1)
    conversation.delete()
    too_many(lambda: conversation.session.attempt("bob", limit=1))


def test_after_the_lockout_all_attempts_are_free_again(conversation: Any) -> None:
    users = itertools.count()

    def attempt() -> int | None:
        # Each as another user: their lockouts would end a moment later than the conversation's.
        try:
            return int(conversation.session.attempt(f"user-{next(users)}", limit=2, window=60, lockout=BRIEF))
        except errors.TooManyAttempts:
            return None

    assert [attempt(), attempt()] == [1, 0]
    after: list[int | None] = []
    servers.wait_until(lambda: after.append(attempt()) or after[-1] is not None, "the lockout is over")
    assert after[-1] == 1


def test_an_attempt_before_the_window_no_longer_counts(conversation: Any) -> None:
    def left() -> int:
        return int(conversation.session.attempt("ada", limit=100, window=BRIEF))

    counted = [left()]
    # Each look is an attempt itself, so fewer are gone than were made only once the first have left the window.
    servers.wait_until(lambda: counted.append(left()) or 100 - counted[-1] < len(counted), "the first has left")


@pytest.mark.parametrize("limit", [0, -1, 101, 1.0, "5", True, None], ids=repr)
def test_a_limit_that_cannot_be_is_refused(conversation: Any, limit: Any) -> None:
    with pytest.raises(errors.InvalidInput):
        conversation.session.attempt("ada", limit=limit)


@pytest.mark.parametrize("name", ["", None, 7, "x" * 513, "\ud800"], ids=lambda value: repr(value)[:20])
def test_a_name_that_cannot_be_is_refused(conversation: Any, name: Any) -> None:
    for call in (
        lambda: conversation.session.attempt(name),
        lambda: conversation.session.login(name),
        lambda: conversation.session.login("user-7", username="" if name is None else name),
    ):
        with pytest.raises(errors.InvalidInput):
            call()
    assert not conversation.exists()


@pytest.mark.parametrize("where", ["one", "many"])
def test_exactly_as_many_attempts_pass_as_the_limit_says(contract_url: str, prefix: str, where: str) -> None:
    def worker(number: int) -> subprocess.Popen[str]:
        name = "one" if where == "one" else f"process-{number}"
        command = [sys.executable, str(WORKER), contract_url, prefix, name, "7"]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    workers = [worker(number) for number in range(2)]
    try:
        for process in workers:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
        for process in workers:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        passed = [int(process.communicate(timeout=60)[0]) for process in workers]
    finally:
        for process in workers:
            process.kill()
            process.communicate()
    assert sum(passed) == 7


def test_attempts_go_away_by_themselves(conversation: Any, raw: redis.Redis, prefix: str) -> None:
    conversation.session.attempt("ada", window=20, lockout=30)
    keys = list(raw.scan_iter(f"{prefix}:*"))
    assert len(keys) == 2
    assert all(20_000 < raw.pttl(key) <= 30_000 for key in keys)


@pytest.mark.parametrize("tries", ["x", "x" * 24, "1" * 23])
def test_attempts_that_are_none_are_corrupt_and_stay(conversation: Any, raw: redis.Redis, tries: str) -> None:
    conversation.session.attempt("ada")
    key = f"{conversation.key}:tries"
    raw.hset(key, "tries", tries)
    with pytest.raises(errors.CorruptState) as caught:
        conversation.session.attempt("ada")
    assert (caught.value.key, caught.value.field) == (key, "tries")
    assert raw.hget(key, "tries") == tries.encode()
