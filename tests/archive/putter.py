"""A process that puts rows into an archive: ``putter.py TARGET same`` or ``putter.py TARGET forever``."""

from __future__ import annotations

import itertools
import sys

from archive.rows import row

from redstate.archive import SqlArchive


def main(target: str, what: str) -> None:
    with SqlArchive(target, timeout=60) as archive:
        print("ready", flush=True)
        sys.stdin.readline()
        if what == "same":
            for version in range(1, 21):
                # In opposite orders in two processes: they must not wait for each other in a circle.
                archive.put([row(f"c{number}", version) for number in range(100)][:: 1 if version % 2 else -1])
            return
        for batch in itertools.count():
            archive.put([row(f"{batch}-{number}", customer_id=f"batch-{batch}") for number in range(100)])
            print(batch, flush=True)


main(*sys.argv[1:])
