"""What an archive in a file has taken outlasts a power cut: conversations leave Redis on the strength of it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

from archive.rows import row
from sqlalchemy import Connection

from redstate.archive import SqlArchive

_FULL = 2


def test_every_connection_has_a_commit_be_on_the_disk_before_it_is_over(tmp_path: Path) -> None:
    path = tmp_path / "archive.db"
    for _ in range(2):  # the file is made, and then found
        with SqlArchive(path) as archive, ThreadPoolExecutor(3) as threads:
            archive.put([row("c1")])
            at_once = Barrier(3)

            def asked(_: int, archive: SqlArchive = archive, at_once: Barrier = at_once) -> int:
                def ask(connection: Connection) -> int:
                    at_once.wait(10)  # so that each has a connection of its own
                    found: int = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
                    return found

                return archive._connections.run(ask)

            assert list(threads.map(asked, range(3))) == [_FULL] * 3
