"""The judge of the soak finds what it is there to find."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import servers
from archive_soak import judge as judging
from archive_soak.judge import judge
from archive_soak.ledger import Ledger
from archive_soak.plan import PREFIX, merge

from redstate import AsyncStore, Store
from redstate.archive import ArchiveRow, SqlArchive
from redstate.archive.sweeper import Sweeper


@dataclass
class Run:
    """A run in which one conversation was archived as it should be."""

    server: servers.RunningServer
    archive: SqlArchive
    path: Path
    folder: Path

    @property
    def row(self) -> ArchiveRow:
        found = self.archive.find("c1")
        assert found is not None
        return found

    def changed(self, **changes: Any) -> None:
        """Put a row in the archive's own one's place."""
        row = dataclasses.replace(self.row, **changes)
        self.archive.delete("c1")
        self.archive.put([row])

    def found(self) -> set[str]:
        """The kinds of violations."""
        verdict = judge(self.server.url, str(self.path), self.folder)
        return {kind for kind, found in verdict.violations.items() if found}


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    path = tmp_path / "archive.db"

    async def converse(url: str) -> None:
        ledger = Ledger(tmp_path / "talker-1.ledger")
        async with AsyncStore.from_url(
            url, archive=path, key_prefix=PREFIX, tombstone_ttl=0.2, merge=merge, max_staleness=0
        ) as store:
            conversation = store.conversation("c1", customer_id="p1")
            for number in (1, 2):
                ledger.note("try", "c1", number, "p1")
                await conversation.cart.add("sku", 1, "19.99")
                ledger.note("ack", "c1", number, await conversation.state.update({"n": number}))
            ledger.note("end?", "c1")
            await conversation.end()
            ledger.note("end", "c1")
            await Sweeper(store).sweep()

    with servers.server() as server, SqlArchive(path) as archive:
        asyncio.run(converse(server.url))
        servers.wait_until(lambda: server.command("DBSIZE") == 1, "the tombstone is gone")
        yield Run(server, archive, path, tmp_path)


def test_a_good_run_has_nothing_wrong(run: Run) -> None:
    assert run.found() == set()


def _another_life(run: Run) -> None:
    run.archive.put([dataclasses.replace(run.row, created_us=run.row.created_us + 1)])


def _merge_again(run: Run) -> None:
    with Store.from_url(run.server.url, key_prefix=PREFIX) as store:
        store.customer("p1").update({"merged": store.customer("p1").get("merged") * 2})


def _merge_too_early(run: Run) -> None:
    with Store.from_url(run.server.url, key_prefix=PREFIX) as store:
        store.customer("p1").update({"merged": ["c1 2026-01-01T00:00:00+00:00 first"]})


WRECKS: dict[str, tuple[Callable[[Run], object], str]] = {
    "no row": (lambda run: run.archive.delete("c1"), judging.LOST),
    "another life": (_another_life, judging.TWICE),
    "an older version": (lambda run: run.changed(version=run.row.version - 1), judging.STALE),
    "a later version": (lambda run: run.changed(version=run.row.version + 1), judging.STALE),
    "a change is missing": (lambda run: run.changed(state='{"n":1}'), judging.WRONG),
    "a change was made twice": (
        lambda run: run.changed(cart='{"lines":{"sku":{"quantity":3,"price":"19.99"}}}'),
        judging.WRONG,
    ),
    "a late write": (lambda run: run.changed(state='{"n":2,"late":1}'), judging.ROSE),
    "merged twice": (_merge_again, judging.MERGES),
    "the last end is not merged": (_merge_too_early, judging.MERGES),
    "the index has it still": (lambda run: run.server.command("ZADD", "rs:{due:07}", 1, "c1"), judging.LEFT),
    "a row of nobody": (
        lambda run: run.archive.put([dataclasses.replace(run.row, conversation_id="c2")]),
        judging.UNKNOWN,
    ),
}


@pytest.mark.parametrize("wreck", WRECKS)
def test_what_is_wrong_is_found(run: Run, wreck: str) -> None:
    work, kind = WRECKS[wreck]
    work(run)
    assert kind in run.found()
