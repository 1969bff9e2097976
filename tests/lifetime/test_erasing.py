"""What was erased or deleted comes back on no way: from no archive, merge, repeat or return; and nothing else goes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import servers
from lifetime.lives import Lives

from redstate import EndedConversation, Store, _scripts, errors
from redstate._async import dossier as async_dossier
from redstate._keys import due_key
from redstate._scope import Scope, current
from redstate._sync import dossier as sync_dossier
from redstate.archive import dossier
from redstate.archive.rows import fields_of
from redstate.archive.sql import SqlArchive
from redstate.calls import lifetime, ownership

FOREVER = 9 * 10**15


def archived(store: Any, lives: Lives, conversation_id: str = "c1", customer_id: str | None = "cust") -> Any:
    """A conversation that has left for the archive, and its tombstone too."""
    conversation = store.conversation(conversation_id, customer_id=customer_id)
    conversation.state.set("a", 1)
    assert conversation.end()
    lives.nothing_left()
    return conversation


def through(lives: Lives, **options: Any) -> None:
    """Sweep until an erasure is through, by archivers that have leases of a tenth of a second."""
    keys = [f"{lives.prefix}:{{due:{part:02d}}}" for part in range(64)]

    def swept() -> bool:
        for key in keys:
            for name in lives.raw.zrange(key, 0, -1):
                lives.raw.zadd(key, {name: 1})
        return lives.sweep(lease=0.1, **options).erased > 0

    servers.wait_until(swept, "it is erased for good")


def test_what_is_left_stays_until_an_archiver_has_cleared_the_archive_and_no_longer(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    store.customer("cust").erase()
    assert lives.raw.pttl(conversation.key) == -1
    assert list(lives.index()) == ["c1"]
    # As long as an archiver of before may come with a row of it, it stays, too.
    assert lives.sweep(tombstone_ttl=0.05).erased == 0
    assert lives.raw.pttl(conversation.key) == -1
    through(lives, tombstone_ttl=0.05)
    servers.wait_until(lambda: not lives.keys(), "what is left expires")
    assert lives.index() == {}
    assert conversation.state.set("b", 1)
    assert store.load_state("c1") == {"b": 1}


def test_another_customers_life_of_the_same_id_stays(store: Any, lives: Lives) -> None:
    archived(store, lives, customer_id="other")
    with SqlArchive(lives.path) as archive:
        (row,) = archive.lives("c1")
        assert archive.delete("c1")
    archived(store, lives)
    with SqlArchive(lives.path) as archive:
        archive.put([row])
    assert store.customer("cust").erase().archived == 1
    through(lives)
    assert [each.customer_id for each in lives.rows()] == ["other"]


@pytest.mark.parametrize("swept", [False, True], ids=["before-a-sweep", "after-a-sweep"])
def test_what_was_resumed_and_then_deleted_does_not_return(store: Any, lives: Lives, swept: bool) -> None:
    conversation = archived(store, lives)
    assert conversation.resume()
    assert conversation.state.set("b", 1)
    assert conversation.delete()
    if swept:
        lives.sweep()
        assert lives.rows() == []
        assert lives.raw.pttl(conversation.key) == -1
        through(lives)
        assert 0 < lives.raw.pttl(conversation.key) <= 600_000
    assert not conversation.resume()
    assert conversation.state.all(fresh=True) == {}


def test_what_is_begun_anew_after_it_was_deleted_is_archived_as_it_is_then(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    assert conversation.resume()
    assert conversation.delete()
    last = conversation.state.set("b", 1)
    assert conversation.end()
    lives.nothing_left()
    assert [(row.version, row.state) for row in lives.rows()] == [(last, '{"b":1}')]


def test_a_late_look_at_what_was_erased_leaves_a_later_life_alone(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    conversation.delete()
    erased = int(lives.record("c1")[b"x"][:16])
    lives.raw.delete(conversation.key)
    with SqlArchive(lives.path) as archive:
        archive.delete("c1")
        last = conversation.state.set("b", 1)
        conversation.end()
        lives.sweep()
        assert archive.purge("c1", lifetime.Purge(erased, erased)) == 0
        assert [row.version for row in lives.rows()] == [last]


def test_who_is_about_to_resume_while_a_customer_is_erased_does_not_bring_it_back(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    (row,) = lives.rows()
    store.customer("cust").erase()
    record = conversation._record
    late = lifetime.restore(record.key, 0, FOREVER, row.version, fields_of(row))
    assert record.ask(late) == "erased"
    assert not conversation.resume()


@pytest.mark.parametrize("by", ["end", "sweeper"])
def test_a_merge_under_way_brings_nothing_back(open_store: Callable[..., Any], url: str, lives: Lives, by: str) -> None:
    eraser = Store.from_url(url, key_prefix=lives.prefix, archive=lives.path)
    merged = []

    def merge(ended: EndedConversation, profile: dict[str, Any]) -> dict[str, Any]:
        merged.append(eraser.customer("cust").erase())
        return {"name": "Ada"}

    store = open_store(merge=merge)
    conversation = store.conversation("c1", customer_id="cust")
    conversation.state.set("a", 1)
    store.customer("cust").update(name="Ada")
    if by == "end":
        conversation.end()
    else:
        lives.raw.zadd(due_key(lives.prefix, "c1"), {"c1": 1})
        servers.wait_until(lambda: lives.sweep(merge=merge, idle=0.1) and merged, "it was abandoned")
    assert store.customer("cust").all(fresh=True) == {}
    assert store.customer("cust").conversations(fresh=True) == []
    lives.sweep()
    assert lives.rows() == []
    eraser.close()


def test_a_conversation_that_ends_after_the_erasure_is_merged(store: Any, lives: Lives) -> None:
    store.customer("cust").update(name="Ada")
    store.customer("cust").erase()
    conversation = store.conversation("c2", customer_id="cust")
    conversation.state.set("a", 1)
    assert conversation.end()
    assert store.customer("cust").get("last_conversation", fresh=True) == "c2"


def test_no_result_of_an_earlier_change_is_remembered_or_made_again(store: Any, lives: Lives) -> None:
    customer = store.customer("cust")
    assert customer.increment("points", 4711, op_id="bonus") == 4711
    assert store.customer("cust").erase().profile
    assert not store.customer("cust").erase().profile
    with pytest.raises(errors.StaleOperation):
        customer.increment("points", 4711, op_id="bonus")
    left = lives.raw.hgetall(customer.key)
    assert set(left) - {name for name in left if name[:1] in b"ji"} == {b"v", b"d", b"x"}
    assert not any(b"4711" in value for value in left.values())
    assert all(re.fullmatch(rb"(\d{10})er \d{16}\|\1", value) for name, value in left.items() if name[:1] in b"ji")
    # And the same processes go on.
    assert customer.increment("points", 1) == 1


def test_what_cannot_be_read_holds_up_nobodys_erasure_and_is_named(store: Any, lives: Lives) -> None:
    for name in ("mine", "linked"):
        store.conversation(name).state.set("customer_id", "cust")
    for name in ("foreign", "linked"):
        store.conversation(name).state.set("a", 1)
        lives.poke(name, "scustomer_id", b"{no json")
    store.customer("cust").link("linked")
    found = store.customer("cust").export()
    assert ([one.conversation_id for one in found.conversations], set(found.unreadable)) == (
        ["mine"],
        {"foreign", "linked"},
    )
    done = store.customer("cust").erase()
    assert (set(done.conversations), done.unreadable) == ({"mine", "linked"}, ("foreign",))
    assert lives.record("foreign")[b"sa"] == b"1"


def test_an_owner_that_was_succeeded_cannot_delete_what_has_ended(store: Any, url: str, lives: Lives) -> None:
    conversation = store.conversation("c1")
    conversation.state.set("a", 1)
    record = conversation._record
    token = record.ask(ownership.claim(record.key, 0, "owner")).token
    heirs = record.ask(ownership.claim(record.key, 0, "heir", gone="owner")).token
    conversation.end()
    assert record.ask(lifetime.erase(record.key, FOREVER, token=token)) == heirs
    # And its changes are what carries the token.
    with Store.from_url(url, key_prefix=lives.prefix, archive=lives.path) as other:
        theirs = other.conversation("c1")
        reset = current.set(Scope(record.key, token))
        try:
            with pytest.raises(errors.Fenced):
                theirs.delete()
        finally:
            current.reset(reset)
    assert lives.record("c1")[b"sa"] == b"1"
    assert conversation.delete()


def test_an_archiver_that_dies_when_it_has_put_an_erased_row_leaves_nothing(store: Any, lives: Lives) -> None:
    conversation = store.conversation("c1", customer_id="cust")
    conversation.state.set("a", 1)
    conversation.end()
    lives.sweep(tombstone_ttl=60.0)
    (row,) = lives.rows()
    store.customer("cust").erase()
    lives.sweep()
    assert lives.rows() == []
    with SqlArchive(lives.path) as archive:
        archive.put([row])  # and is killed
    assert not conversation.resume()
    through(lives)
    assert lives.rows() == []


@pytest.mark.parametrize("customer_id", ["cust", None], ids=["said-in-the-row", "linked"])
def test_who_resumes_while_a_customer_is_being_erased_is_erased_as_well(
    open_store: Callable[..., Any], url: str, lives: Lives, monkeypatch: pytest.MonkeyPatch, customer_id: str | None
) -> None:
    """Between the look at what is in the store and the look at what is in the archive."""
    store = open_store()
    archived(store, lives, customer_id=customer_id)
    store.customer("cust").link("c1")
    look = dossier.ids_of

    def late(*args: Any) -> tuple[list[str], int]:
        with Store.from_url(url, key_prefix=lives.prefix, archive=lives.path) as other:
            assert other.conversation("c1").resume()
        return look(*args)

    for module in (async_dossier, sync_dossier):
        monkeypatch.setattr(module, "ids_of", late)
    assert store.customer("cust").export().conversations[0].conversation_id == "c1"
    assert store.customer("cust").erase().conversations == ("c1",)
    assert store.conversation("c1").state.all(fresh=True) == {}
    assert not store.conversation("c1").resume()
    through(lives)
    assert lives.rows() == []


def test_what_is_written_after_a_deletion_keeps_nothing_of_before_in_the_archive(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    with SqlArchive(lives.path) as archive:
        (row,) = archive.lives("c1")
        archive.put([replace(row, created_us=row.created_us - 1)])  # an older life
    assert conversation.resume()
    assert conversation.delete()
    conversation.state.set("b", 1)
    lives.sweep()
    assert lives.rows() == []
    assert conversation.end()
    lives.nothing_left()
    assert [each.state for each in lives.rows()] == ['{"b":1}']


def test_the_tool_calls_of_what_was_deleted_are_erased_with_its_customer(store: Any, lives: Lives) -> None:
    conversation = store.conversation("c1", customer_id="cust")
    conversation.state.set("a", 1)
    store.customer("cust").link("c1")
    lives.poke("c1", "Qcall", b"what was asked")
    lives.poke("c1", "qcall", b"what was answered")
    assert conversation.delete()
    assert {b"Qcall", b"qcall"} <= set(lives.record("c1"))  # a repeat of the call is still answered
    assert store.customer("cust").erase().conversations == ()
    assert not {b"Qcall", b"qcall"} & set(lives.record("c1"))


def test_an_erasure_does_not_narrow_a_deletion(store: Any, lives: Lives) -> None:
    conversation = archived(store, lives)
    with SqlArchive(lives.path) as archive:
        (row,) = archive.lives("c1")
        archive.put([replace(row, created_us=row.created_us - 1, customer_id="other")])
    assert conversation.resume()
    assert conversation.delete()
    store.customer("cust").erase()
    through(lives)
    assert lives.rows() == []


def test_what_has_become_anothers_since_somebody_looked_is_not_erased(store: Any, lives: Lives) -> None:
    conversation = store.conversation("c1", customer_id="other")
    conversation.state.set("a", 1)
    record = conversation._record
    assert record.ask(lifetime.erase(record.key, FOREVER, "cust")) is False
    assert conversation.state.get("a", fresh=True) == 1


@pytest.mark.parametrize("how", ["delete", "erase"])
def test_the_word_after_an_erasure_counts_by_the_clock_of_before(store: Any, lives: Lives, how: str) -> None:
    """Else it could come late, and take the entry away from somebody who is about to begin it anew."""
    conversation = store.conversation("c1", customer_id="cust")
    conversation.state.set("a", 1)
    if how == "erase":
        conversation.end()
    last = {"delete": "record_delete", "erase": "conversation_erase"}[how]
    scripts = {_scripts.load(name).sha: name for name in (last, "due_now")}
    with lives.raw.monitor() as monitor:
        assert conversation.delete()
        seen: list[str] = []
        while seen[-1:] != ["due_now"]:
            told = monitor.next_command()
            if told["client_type"] != "lua":
                words = told["command"].split(" ")
                seen.append(scripts.get(words[1], words[0]) if len(words) > 1 else words[0])
    assert "TIME" not in seen[seen.index(last) :]


@pytest.mark.parametrize(("field", "value"), [("b", b"9" * 20), ("G", b"4:cus"), ("G", b"cust")])
def test_what_cannot_be_read_of_an_erased_one_holds_up_nobody(
    store: Any, lives: Lives, field: str, value: bytes
) -> None:
    names = ["c1", next(name for name in map(str, range(999)) if due_key("p", name) == due_key("p", "c1"))]
    for name in names:
        store.conversation(name).state.set("a", 1)
        store.conversation(name).end()
    store.conversation("c1").delete()
    lives.poke("c1", "G", b"4:cust")
    lives.poke("c1", field, value)
    figures = lives.sweep()
    assert (figures.corrupt, figures.archived) == (1, 1)
    assert list(lives.index()) == ["c1"]


def test_each_of_two_customers_has_its_own_erased_of_one_id(store: Any, lives: Lives) -> None:
    archived(store, lives, customer_id="ada")
    with SqlArchive(lives.path) as archive:
        (row,) = archive.lives("c1")
        rows = [
            replace(row, customer_id=name, created_us=row.created_us + 1 + at) for at, name in enumerate(("bob", "eve"))
        ]
        archive.put(rows)
        store.customer("ada").erase()
        store.customer("bob").erase()
        # Archivers of before had them in hand.
        archive.put([row, *rows])
    through(lives)
    assert [each.customer_id for each in lives.rows()] == ["eve"]


def test_an_erased_life_goes_though_the_clock_was_set_back_since_it_began(store: Any, lives: Lives) -> None:
    conversation = store.conversation("c1", customer_id="cust")
    conversation.state.set("a", 1)
    ahead = int(lives.record("c1")[b"b"]) + 3_600_000_000
    lives.poke("c1", "b", b"%016d" % ahead)
    conversation.end()
    lives.sweep(tombstone_ttl=0.05)
    (row,) = lives.rows()
    servers.wait_until(lambda: not lives.keys(), "the tombstone is gone")
    assert conversation.resume()
    store.customer("cust").erase()
    with SqlArchive(lives.path) as archive:
        archive.put([row])
    through(lives)
    assert lives.rows() == []


def test_an_erasure_tells_what_was_in_the_archive_also_beside_a_sweeper(
    open_store: Callable[..., Any], lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    for number in range(3):
        archived(store, lives, f"c{number}")
    everything = dossier.forget_all

    def late(*args: Any) -> None:
        with SqlArchive(lives.path) as archive:
            archive.delete("c0")  # a sweeper was quicker
        everything(*args)

    for module in (async_dossier, sync_dossier):
        monkeypatch.setattr(module, "forget_all", late)
    assert store.customer("cust").erase().archived == 3
