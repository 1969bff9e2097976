"""A tool call of a conversation runs once, and its answer is repeated, inside a window."""

from __future__ import annotations

from typing import Any

import pytest
from ownership.records import Owners

from redstate import Store
from redstate.calls.toolcalls import LARGEST_ANSWER, LARGEST_REQUEST, REMEMBERED
from redstate.errors import CorruptState, Fenced

HOUR_US = 3_600_000_000


@pytest.fixture
def owners(store: Store, prefix: str) -> Owners:
    return Owners(store, prefix)


@pytest.fixture
def token(owners: Owners) -> int:
    return owners.claim("ann").token


def test_a_call_is_run_once_and_its_answer_repeated(owners: Owners, token: int) -> None:
    assert owners.look("k") is None
    assert owners.begin("k", token).verdict == "run"
    assert owners.found("k").verdict == "wait"
    assert owners.begin("k", token, attempt="b").verdict == "wait"
    assert owners.finish("k", token, b'["tool_call_response",{"a":1}]') == "kept"
    for found in (owners.look("k"), owners.begin("k", token, attempt="c")):
        assert found is not None
        assert (found.verdict, found.answer) == ("done", b'["tool_call_response",{"a":1}]')


def test_beginning_and_finishing_can_be_repeated_when_their_answers_are_lost(owners: Owners, token: int) -> None:
    assert [owners.begin("k", token).verdict for _ in range(2)] == ["run", "run"]
    for name, verdict in (("bob", "again"), ("cid", "again"), ("dan", "spent")):
        token = owners.claim(name, gone={"bob": "ann", "cid": "bob", "dan": "cid"}[name]).token
        assert [owners.begin("k", token, attempt="b").verdict for _ in range(2)] == [verdict, verdict]
    assert [owners.finish("k", token, attempt="b") for _ in range(2)] == ["kept", "done"]


def test_a_call_that_is_left_again_takes_nothing_from_who_runs_it(owners: Owners, token: int) -> None:
    owners.begin("k", token)
    assert owners.post("k").verdict == "wait"
    assert owners.finish("k", token) == "kept"
    assert owners.post("k").verdict == "done"


def test_the_next_owner_runs_what_was_not_finished(owners: Owners, token: int) -> None:
    owners.begin("k", token, request=b'{"n":1}')
    newer = owners.claim("bob", gone="ann").token
    assert [request for _, request in owners.unfinished()] == [b'{"n":1}']
    assert owners.begin("k", newer, attempt="b").verdict == "again"
    with pytest.raises(Fenced):
        owners.finish("k", token)
    with pytest.raises(Fenced):
        owners.begin("other", token)
    assert owners.finish("k", newer, b'"second"', attempt="b") == "kept"
    # Until it is known to have been sent, the next owner is to see to it.
    assert [request for _, request in owners.unfinished()] == [b'{"n":1}']
    owners.sent("k")
    assert owners.unfinished() == []
    assert owners.found("k").answer == b'"second"'


def test_the_next_owner_learns_when_a_call_began(owners: Owners, token: int) -> None:
    began = owners.begin("k", token).now_us
    newer = owners.claim("bob", gone="ann").token
    owners.begin("k", newer, attempt="b")
    assert owners.unfinished() == [(began, b"{}")]


def test_a_call_that_was_not_begun_can_be_left_to_the_next_owner(owners: Owners, token: int) -> None:
    owners.post("k", b'{"n":2}')
    newer = owners.claim("bob", gone="ann").token
    assert [request for _, request in owners.unfinished()] == [b'{"n":2}']
    assert owners.begin("k", newer).verdict == "run"


def test_a_call_that_kills_its_owners_is_given_up(owners: Owners, token: int) -> None:
    owners.begin("k", token)
    verdicts, before = [], "ann"
    for name in ("bob", "cid", "dan"):
        newer = owners.claim(name, gone=before).token
        verdicts.append(owners.begin("k", newer, attempt="b").verdict)
        before = name
    assert verdicts == ["again", "again", "spent"]
    assert owners.finish("k", newer, b'"given up"', attempt="b") == "kept"


def test_an_answer_that_came_from_an_earlier_attempt_does_not_count(owners: Owners, token: int) -> None:
    owners.begin("k", token, attempt="a")
    newer = owners.claim("bob", gone="ann").token
    owners.begin("k", newer, attempt="b")
    assert owners.finish("k", newer, attempt="a") == "lost"
    assert owners.found("k").verdict == "wait"


def test_answers_come_back_byte_for_byte_but_for_the_marks_of_the_journal(owners: Owners, token: int) -> None:
    import json

    value = {"text": "a;b|c;1000000001|9999999999 \u2028 ü", "list": ["|", ";"]}
    owners.begin("k", token)
    owners.finish("k", token, json.dumps(value).encode())
    assert json.loads(owners.found("k").answer) == value


def test_as_many_calls_as_stated_are_remembered(owners: Owners, token: int, raw: Any) -> None:
    for number in range(REMEMBERED + 10):
        owners.begin(f"k{number}", token)
        owners.finish(f"k{number}", token)
        owners.sent(f"k{number}")
    found = [owners.look(f"k{number}") is not None for number in range(REMEMBERED + 10)]
    assert found == [False] * 10 + [True] * REMEMBERED
    fields = [name for name in raw.hkeys(owners.key) if name[0] in "qQ"]
    assert len(fields) == REMEMBERED + 1


def test_a_call_is_forgotten_after_an_hour(owners: Owners, token: int, raw: Any) -> None:
    for call_id in ("old", "new"):
        owners.begin(call_id, token)
        owners.finish(call_id, token)
    field = owners.name("old").journal
    text = raw.hget(owners.key, field)
    raw.hset(owners.key, field, text[:13] + str(int(text[13:29]) - HOUR_US - 1_000_000) + text[29:])
    owners.begin("next", token)
    assert owners.look("old") is None
    assert owners.look("new") is not None


def test_calls_that_run_are_not_forgotten_for_being_many(owners: Owners, token: int) -> None:
    for number in range(REMEMBERED):
        assert owners.begin(f"k{number}", token).verdict == "run"
    assert owners.begin("one more", token).verdict == "full"
    owners.finish("k5", token)
    assert owners.begin("one more", token).verdict == "run"
    assert owners.look("k5") is None


def test_an_answer_that_is_too_large_is_known_but_not_kept(owners: Owners, token: int) -> None:
    owners.begin("k", token)
    owners.finish("k", token, b'"' + b"x" * LARGEST_ANSWER + b'"')
    found = owners.look("k")
    assert found is not None
    assert (found.verdict, found.answer) == ("done", b"")


def test_a_request_that_is_too_large_waits_to_be_asked_again(owners: Owners, token: int) -> None:
    owners.begin("k", token, request=b"x" * (LARGEST_REQUEST + 1))
    newer = owners.claim("bob", gone="ann").token
    assert owners.unfinished() == []
    assert owners.begin("k", newer, attempt="b").verdict == "again"


def test_calls_are_no_content(owners: Owners, token: int) -> None:
    owners.begin("k", token)
    owners.finish("k", token)
    assert (owners.conversation.exists(), owners.conversation.version()) == (False, 0)
    version = owners.conversation.state.set("a", 1, expected_version=0)
    owners.begin("l", token)
    assert owners.conversation.version() == version
    owners.conversation.delete()
    assert owners.found("k").verdict == "done"


def test_a_call_of_a_record_that_expired_meanwhile_says_so(owners: Owners, token: int, raw: Any) -> None:
    owners.begin("k", token)
    raw.delete(owners.key)
    assert owners.finish("k", token) == "gone"


@pytest.mark.parametrize("garbage", ["", "x", "12 a 1 3 {}", "1234567890123456 zz 1 1234567890123456 {}"])
def test_a_journal_that_is_none_is_said_to_be_corrupt_and_left_alone(
    owners: Owners, token: int, raw: Any, garbage: str
) -> None:
    owners.begin("k", token)
    raw.hset(owners.key, owners.name("k").run, garbage)
    with pytest.raises(CorruptState):
        owners.begin("k", token, attempt="b")
    with pytest.raises(CorruptState):
        owners.finish("k", token)
    assert raw.hget(owners.key, owners.name("k").run) == garbage
