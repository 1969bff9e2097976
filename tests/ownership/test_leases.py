"""Who owns something has a lease, which is renewed for all owners of a process at once, and never once it has ended."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import servers
from ownership.records import Owners

from redstate import Store
from redstate._keys import owners_key
from redstate.calls import ownership


@pytest.fixture
def owners(store: Store, prefix: str) -> Owners:
    return Owners(store, prefix)


def test_a_lease_runs_for_as_long_as_it_is_renewed(owners: Owners) -> None:
    owners.beat(0.3, joining=("ann",))
    for _ in range(3):
        assert owners.alive("ann")
        assert owners.beat(0.3, "ann").lapsed == ()
    servers.wait_until(lambda: not owners.alive("ann"), "the lease has ended")


def test_a_lease_that_has_ended_is_never_renewed(owners: Owners) -> None:
    owners.beat(0.05, joining=("ann",))
    servers.wait_until(lambda: not owners.alive("ann"), "the lease has ended")
    beat = owners.beat(60.0, "ann")
    assert beat.lapsed == ("ann",)
    assert not owners.alive("ann")


def test_who_stood_still_learns_it_from_its_own_renewal(owners: Owners) -> None:
    owners.beat(0.05, joining=("ann",))
    servers.wait_until(lambda: owners.beat(60.0, joining=("bob",)).gone == ("ann",), "bob hears that ann is gone")
    assert owners.beat(60.0, "ann").lapsed == ("ann",)


def test_a_beat_tells_who_is_there_who_is_gone_and_when_to_look_again(owners: Owners) -> None:
    owners.beat(60.0, joining=("ann", "bob"))
    owners.beat(30.0, joining=("cid",))
    owners.ask(ownership.leave(owners.prefix, "bob"))
    beat = owners.beat(60.0, "ann")
    assert (set(beat.there), beat.gone, beat.lapsed) == ({"ann", "cid"}, ("bob",), ())
    assert beat.next_end == pytest.approx(30.0, abs=5.0)


def test_who_leaves_is_gone_at_once(owners: Owners) -> None:
    owners.beat(60.0, joining=("ann",))
    owners.ask(ownership.leave(owners.prefix, "ann"))
    assert not owners.alive("ann")
    assert owners.beat(60.0, "ann").lapsed == ("ann",)


def test_an_owner_that_nobody_knows_is_not_there(owners: Owners) -> None:
    assert not owners.alive("eve")
    assert owners.beat(60.0, "eve").lapsed == ("eve",)


def test_who_is_gone_is_forgotten_after_a_day(owners: Owners, raw: Any) -> None:
    seconds, _ = raw.time()
    key = owners_key(owners.prefix)
    raw.zadd(key, {"old": -(seconds - 90_000) * 1_000_000, "late": -(seconds - 80_000) * 1_000_000})
    assert owners.beat(60.0, joining=("ann",)).gone == ("late",)


def test_thousands_of_owners_are_renewed_in_one_call(owners: Owners) -> None:
    many = [f"owner{number}" for number in range(3_000)]
    owners.beat(60.0, joining=tuple(many))
    beat = owners.beat(60.0, *many)
    # They are not told of each other then.
    assert (beat.lapsed, beat.there) == ((), ())


def test_what_an_owner_holds_is_found_when_it_is_gone(owners: Owners) -> None:
    names = ["plain", "with space", "ünïcode \N{SNOWMAN}", "x" * 500]
    for name, agent in zip(names, itertools.cycle(["shop", "desk"]), strict=False):
        owners.ask(ownership.hold(owners.prefix, "ann", 60_000, name, agent))
    owners.ask(ownership.drop(owners.prefix, "ann", "plain"))
    held = owners.ask(ownership.holdings(owners.prefix, "ann"))
    assert held == {"with space": "desk", "ünïcode \N{SNOWMAN}": "shop", "x" * 500: "desk"}
    assert owners.ask(ownership.holdings(owners.prefix, "bob")) == {}
