"""What users may do beside a sweeper: name an expiry, which counts for nothing, and save into its archive by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifetime.lives import Lives

from redstate.archive import SqlArchive


def test_an_expiry_counts_for_nothing_with_an_archive(store: Any) -> None:
    conversation = store.conversation("c1", ttl=5)
    conversation.state.set("a", 1)
    assert conversation.ttl() is None
    assert conversation.touch(5)
    store.save_state("c2", {"a": 1}, ttl=5)
    assert (conversation.ttl(), store.conversation("c2").ttl()) == (None, None)


def test_a_state_saved_by_hand_takes_the_place_of_what_was_archived(
    open_store: Callable[..., Any], lives: Lives, path: str
) -> None:
    store = open_store()
    conversation = store.conversation("c1")
    conversation.state.set("a", 1)
    conversation.cart.add("sku", 2, "1.00")
    conversation.end()
    lives.nothing_left()
    with SqlArchive(path) as archive:
        archive.save("c1", {"b": 2})
        assert (store.load_state("c1"), store.archive.get("c1").state) == ({"b": 2}, {"b": 2})
        assert conversation.resume()
        assert conversation.state.all(fresh=True) == {"b": 2}
        assert len(conversation.cart.lines()) == 1
        # It goes on: what was changed before a save does not arrive, as that has the higher version.
        conversation.state.set("c", 3)
        archive.save("c1", {"saved": True})
        conversation.end()
        lives.nothing_left()
        assert [one.state for one in archive.lives("c1")] == ['{"saved":true}']
