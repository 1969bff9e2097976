"""What is encrypted in the store stays so in the archive, is read from there, and comes back."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest

from redstate import AsyncStore, Encryption, Step, Store, Workflow, errors
from redstate.archive.sweeper import Sweeper

ENCRYPTION = Encryption({"k1": b"1" * 32})
BOOKING = Workflow("booking", [Step("dates", collects={"day": date}, next="done"), Step("done", final=True)])


def sweep(url: str, prefix: str, path: str, encryption: Encryption | None) -> int:
    async def swept() -> int:
        async with AsyncStore.from_url(url, key_prefix=prefix, archive=path, encryption=encryption) as store:
            sweeper = Sweeper(store)
            await sweeper.sweep()
            return sweeper.figures.archived

    return asyncio.run(swept())


def test_an_archived_conversation_is_encrypted_read_and_resumed(url: str, prefix: str, tmp_path: Path) -> None:
    path = str(tmp_path / "archive.db")
    with Store.from_url(url, key_prefix=prefix, archive=path, encryption=ENCRYPTION) as store:
        conversation = store.conversation("c1")
        conversation.state.update(customer_id="ada-secret", note="hush-hush", day=date(2026, 1, 2), n=7)
        conversation.cart.add("sku", 2, "1.50", attributes={"engraving": "for-her-eyes"})
        conversation.workflow(BOOKING).advance(day="2026-03-04")
        conversation.cart.checkout("order-1")
        conversation.session.login("user-hush", username="Ada-hush", phone="phone-hush")
        before = conversation.state.all()
        conversation.end()
        assert sweep(url, prefix, path, ENCRYPTION) == 1
        text = b"".join(file.read_bytes() for file in tmp_path.glob("archive.db*"))
        assert not [word for word in (b"-hush", b"for-her-eyes", b"2026-03-04") if word in text]
        archived = store.archive.get("c1")
        assert archived is not None and archived.state == before
        assert archived.workflows["booking"] == {
            "step": "done",
            "status": "finished",
            "data": {"day": date(2026, 3, 4)},
        }
        assert archived.session is not None and set(archived.session) == {
            *("user_id", "username", "since_us", "expires_us")
        }
        assert (archived.session["user_id"], archived.session["username"]) == ("user-hush", "Ada-hush")
        assert archived.cart is not None
        assert archived.cart["orders"]["order-1"]["sku"]["attributes"] == {"engraving": "for-her-eyes"}
        assert (archived.customer_id, store.customer("ada-secret").get("last_conversation")) == ("ada-secret", "c1")
        assert conversation.resume()
        assert conversation.state.all(fresh=True) == before
        order = conversation.cart.order("order-1")
        assert order is not None and order.lines["sku"].attributes == {"engraving": "for-her-eyes"}


def test_who_lacks_the_key_archives_what_it_need_not_read_and_leaves_the_rest(
    url: str, prefix: str, tmp_path: Path
) -> None:
    path = str(tmp_path / "archive.db")
    with Store.from_url(url, key_prefix=prefix, archive=path, encryption=ENCRYPTION) as store:
        for name, state in (("plain", {"note": "x"}), ("whose", {"customer_id": "ada"})):
            store.conversation(name).state.update(state)
            store.conversation(name).end()
        assert sweep(url, prefix, path, None) == 1
        assert store.archive.get("plain") is not None and store.archive.get("whose") is None
        with Store.from_url(url, key_prefix=prefix, archive=path) as other:
            with pytest.raises(errors.UnknownEncryptionKey):
                other.archive.get("plain")
        assert store.conversation("whose").state.get("customer_id", fresh=True) == "ada"


def test_rotation_does_not_reach_what_is_archived_until_it_is_resumed(url: str, prefix: str, tmp_path: Path) -> None:
    path = str(tmp_path / "archive.db")
    rotating = Encryption({"k2": b"2" * 32, "k1": b"1" * 32})
    rotated = Encryption({"k2": b"2" * 32})
    with Store.from_url(url, key_prefix=prefix, archive=path, encryption=ENCRYPTION) as store:
        for name in ("left", "renewed"):
            store.conversation(name).state.set("note", name)
            store.conversation(name).end()
    assert sweep(url, prefix, path, ENCRYPTION) == 2
    with Store.from_url(url, key_prefix=prefix, archive=path, encryption=rotating) as store:
        assert store.conversation("left").reencrypt() == 0
        conversation = store.conversation("renewed")
        assert (conversation.resume(), conversation.reencrypt(), conversation.end()) == (True, 1, True)
    assert sweep(url, prefix, path, rotating) == 1
    with Store.from_url(url, key_prefix=prefix, archive=path, encryption=rotated) as store:
        assert store.load_state("renewed") == {"note": "renewed"}
        for read in (store.archive.get, store.load_state):
            with pytest.raises(errors.UnknownEncryptionKey, match="k1"):
                read("left")
        assert {one.conversation_id for one in store.archive.list()} == {"left", "renewed"}
        assert len(list(store.archive.export())) == 2


def test_what_is_archived_under_one_prefix_cannot_be_read_under_another(url: str, prefix: str, tmp_path: Path) -> None:
    path = str(tmp_path / "archive.db")
    with Store.from_url(url, key_prefix=prefix, archive=path, encryption=ENCRYPTION) as store:
        store.conversation("c1").state.set("note", "x")
        store.conversation("c1").end()
    assert sweep(url, prefix, path, ENCRYPTION) == 1
    with (
        Store.from_url(url, key_prefix=f"{prefix}-2", archive=path, encryption=ENCRYPTION) as other,
        pytest.raises(errors.CorruptState),
    ):
        other.archive.get("c1")
