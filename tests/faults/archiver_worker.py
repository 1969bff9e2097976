"""An archiver that kills itself with SIGKILL at a step of the way: argv is URL, prefix, archive, step.

It says "begun" before it begins. A step is the name of a script or a command, or "commit": it dies when the first such
call, or the commit, is through; with a plus in front just before. What is silent for 0.3 s is abandoned.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from sweeper_steps import step_of

from redstate import AsyncStore
from redstate._call import Query
from redstate.archive.interface import ArchiveRow
from redstate.archive.sql import SqlArchive
from redstate.archive.sweeper import Sweeper


class Mortal(SqlArchive):
    """Dies beside a commit."""

    step = ""

    def put(self, rows: Any, *confirm: Any) -> None:
        die_at("+commit", self.step)
        super().put(rows, *confirm)
        die_at("commit", self.step)

    def delete(self, conversation_id: str) -> bool:
        die_at("+commit", self.step)
        found = super().delete(conversation_id)
        die_at("commit", self.step)
        return found


def die_at(step: str, wanted: str) -> None:
    if step == wanted:
        os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    url, prefix, path, step = sys.argv[1:]
    archive = Mortal(path)
    archive.step = step
    archive.open()
    async with AsyncStore.from_url(url, key_prefix=prefix, archive=archive, tombstone_ttl=0.3, idle=0.3) as store:
        sweeper = Sweeper(store, batch=20, lease=1.0)
        ask, ask_all = sweeper._ask, sweeper._ask_all

        async def mortal(call: Query[Any]) -> Any:
            name = step_of(call)
            die_at(f"+{name}", step)
            reply = await ask(call)
            die_at(name, step)
            return reply

        async def all_mortal(calls: list[Query[Any]]) -> list[Any]:
            name = step_of(*calls)
            die_at(f"+{name}", step)
            replies = await ask_all(calls)
            die_at(name, step)
            return replies

        sweeper._ask, sweeper._ask_all = mortal, all_mortal  # type: ignore[method-assign]
        print("begun", flush=True)
        await sweeper.run()


def rows(path: str) -> list[ArchiveRow]:
    """All that is in an archive."""
    with SqlArchive(path) as archive:
        return list(archive.rows())


if __name__ == "__main__":
    asyncio.run(main())
