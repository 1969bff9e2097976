"""A session whose replies get lost: begun once, ended once, and each attempt counted once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from redstate import errors
from redstate.testing.proxy import FaultProxy


def test_a_login_whose_replies_are_lost_begins_one_session(proxy: FaultProxy, open_store: Callable[..., Any]) -> None:
    session = open_store(proxy.url, timeout=20.0).conversation("c").session
    session.login("user-7", idle=60)
    proxy.swallow_replies(2, command="EVALSHA")
    first = session.login("user-8", idle=60)
    assert proxy.stats.swallowed == 2
    # A second session, begun by a repeat, would be younger than the one that was returned.
    assert session.user() == first
    proxy.swallow_replies(1, command="EVALSHA")
    assert session.logout() is True


def test_a_login_without_an_answer_can_be_repeated_by_its_id(
    proxy: FaultProxy, open_store: Callable[..., Any], server: Any
) -> None:
    store = open_store(proxy.url, timeout=0.5)
    session = store.conversation("c").session
    store.conversation("other").session.login("user-7")  # the server has the scripts from here on
    proxy.swallow_replies(100, command="EVALSHA")
    with pytest.raises(errors.OutcomeUnknown) as caught:
        session.login("user-7")
    begun = open_store(server.url).conversation("c").session
    first = begun.user()
    assert begun.login("user-7", op_id=caught.value.op_id) == first
    assert begun.user() == first


def test_an_attempt_whose_replies_are_lost_counts_once(proxy: FaultProxy, open_store: Callable[..., Any]) -> None:
    session = open_store(proxy.url, timeout=20.0).conversation("c").session
    assert session.attempt("ada", limit=3) == 2
    proxy.swallow_replies(2, command="EVALSHA")
    assert session.attempt("ada", limit=3) == 1
    assert proxy.stats.swallowed == 2
    assert session.attempt("ada", limit=3) == 0
    with pytest.raises(errors.TooManyAttempts):
        session.attempt("ada", limit=3)


def test_an_attempt_without_an_answer_is_no_attempt_that_passed(
    proxy: FaultProxy, open_store: Callable[..., Any]
) -> None:
    session = open_store(proxy.url, timeout=0.3).conversation("c").session
    session.authenticated()
    proxy.swallow_replies(100, command="EVALSHA")
    with pytest.raises(errors.CallTimeout):
        session.attempt("ada")
