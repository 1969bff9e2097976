"""A process of the lost-replies test: increments conversations in turn and prints what each increment returned.

Usage: increment_worker.py URL PREFIX COUNT CONVERSATIONS sync|async
"""

from __future__ import annotations

import asyncio
import sys

from redstate import AsyncStore, Store

FLYING = 8  # calls at once of an asyncio worker


def run_sync(url: str, prefix: str, count: int, conversations: int) -> list[tuple[int, int]]:
    with Store.from_url(url, key_prefix=prefix, timeout=60.0) as store:
        states = [store.conversation(f"c{number}").state for number in range(conversations)]
        return [(turn % conversations, states[turn % conversations].increment("n")) for turn in range(count)]


async def run_async(url: str, prefix: str, count: int, conversations: int) -> list[tuple[int, int]]:
    found = []
    async with AsyncStore.from_url(url, key_prefix=prefix, timeout=60.0) as store:
        states = [store.conversation(f"c{number}").state for number in range(conversations)]
        turns = iter(range(count))

        async def fly() -> None:
            for turn in turns:
                # Two neighbours share a conversation, so that it has several operations in flight.
                number = turn // 2 % conversations
                found.append((number, await states[number].increment("n")))

        await asyncio.gather(*(fly() for _ in range(FLYING)))
    return found


def main() -> None:
    url, prefix, count, conversations, colour = sys.argv[1:]
    arguments = (url, prefix, int(count), int(conversations))
    found = run_sync(*arguments) if colour == "sync" else asyncio.run(run_async(*arguments))
    print("\n".join(f"{number} {value}" for number, value in found))


if __name__ == "__main__":
    main()
