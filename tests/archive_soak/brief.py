"""Short conversations at full speed: brief.py talk URL ARCHIVE WORKER COUNT FOLDER, or brief.py sweep URL ARCHIVE.

A talker writes the version of each conversation's last change into a file when it is through, and ends. A sweeper ends
when its standard input does.
"""

from __future__ import annotations

import array
import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

from redstate import AsyncStore
from redstate.archive.sweeper import Sweeper

PREFIX = "rs"
IDLE, TOMBSTONE = 2.0, 3.0
"""Seconds until silence counts as a hang-up, and of the refusal of late changes."""

WRITES = 5
HANGS_UP_EVERY = 10
_BESIDE = 32


def conversation_id(worker: int, number: int) -> str:
    """Of a worker's conversation of that number."""
    return f"brief-{worker}-{number:07d}"


def versions_of(folder: Path, worker: int) -> array.array[int]:
    """The last versions of a worker's conversations, by their numbers."""
    found = array.array("Q")
    found.frombytes((folder / f"versions-{worker}").read_bytes())
    return found


async def talk(url: str, archive: str, worker: int, count: int, folder: Path) -> None:
    """Start, write, and end or hang up, so many times."""
    versions = array.array("Q", bytes(8 * count))
    async with AsyncStore.from_url(
        url, archive=archive, key_prefix=PREFIX, idle=IDLE, tombstone_ttl=TOMBSTONE, timeout=30.0
    ) as store:

        async def some(numbers: Iterator[int]) -> None:
            for number in numbers:
                conversation = store.conversation(conversation_id(worker, number))
                await conversation.start()
                for write in range(WRITES):
                    version = await conversation.state.set(f"field{write}", f"what was said in turn {write}")
                versions[number] = version
                if number % HANGS_UP_EVERY:
                    await conversation.end()

        numbers = iter(range(count))
        await asyncio.gather(*[some(numbers) for _ in range(_BESIDE)])
    (folder / f"versions-{worker}").write_bytes(versions.tobytes())


async def sweep(url: str, archive: str) -> None:
    """Sweep until nobody wants it any more."""
    async with AsyncStore.from_url(
        url, archive=archive, key_prefix=PREFIX, idle=IDLE, tombstone_ttl=TOMBSTONE, timeout=30.0
    ) as store:
        sweeper = Sweeper(store)
        sweeping = asyncio.create_task(sweeper.run())
        await asyncio.to_thread(sys.stdin.read)
        sweeper.stop()
        await sweeping


def main() -> None:
    kind, url, archive, *rest = sys.argv[1:]
    if kind == "sweep":
        asyncio.run(sweep(url, archive))
    else:
        asyncio.run(talk(url, archive, int(rest[0]), int(rest[1]), Path(rest[2])))


if __name__ == "__main__":
    main()
