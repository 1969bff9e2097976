"""A process that uses a store, forks, and goes on using it on both sides at once.

Usage: forking_worker.py URL PREFIX os.fork|multiprocessing sync|async
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import Callable
from typing import Any

from redstate import AsyncStore, Store

EACH = 400


def use_sync(store: Store, name: str) -> None:
    """Increments a shared field and checks that every reply is for this process."""
    own, shared = store.conversation(name).state, store.conversation("shared").state
    for turn in range(EACH):
        own.set("name", [name, turn])
        shared.increment("n")
        assert own.get("name") == [name, turn]


async def use_async(store: AsyncStore, name: str) -> None:
    own, shared = store.conversation(name).state, store.conversation("shared").state
    for turn in range(EACH):
        await asyncio.gather(own.set("name", [name, turn]), shared.increment("n"))
        assert await own.get("name") == [name, turn]


def fork(way: str, child: Callable[[], None], parent: Callable[[], None]) -> None:
    """Run ``child`` in a forked process while this one runs ``parent``."""
    if way == "multiprocessing":
        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        parent()
        process.join()
        assert process.exitcode == 0
        return
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            child()
            status = 0
        finally:
            os._exit(status)
    parent()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def say(word: str) -> None:
    os.write(1, f"{word}\n".encode())


def main() -> None:
    url, prefix, way, colour = sys.argv[1:]
    options: Any = {"key_prefix": prefix, "timeout": 20.0}
    if colour == "sync":
        with Store.from_url(url, **options) as store:
            store.conversation("shared").state.set("n", 0)
            fork(way, lambda: use_sync(store, "child"), lambda: use_sync(store, "parent"))
            total = store.conversation("shared").state.get("n")
    else:
        runner = asyncio.Runner()
        twin = AsyncStore.from_url(url, **options)
        runner.run(twin.conversation("shared").state.set("n", 0))
        # The child needs a loop of its own: it would share the parent's event queue.
        fork(way, lambda: asyncio.run(use_async(twin, "child")), lambda: runner.run(use_async(twin, "parent")))
        total = runner.run(twin.conversation("shared").state.get("n"))
        runner.run(twin.close())
        runner.close()
    say(f"child ok parent ok {total}")


if __name__ == "__main__":
    main()
