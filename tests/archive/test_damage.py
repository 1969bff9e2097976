"""What somebody else has put into the archive's file, and cannot be read, is said to be damage; nothing is skipped."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from archive.rows import row

from redstate.archive import SqlArchive
from redstate.errors import ArchiveError


@pytest.mark.parametrize("column", ["conversation_id", "customer_id", "cart"])
def test_text_that_is_no_utf_8_is_damage_and_is_not_quoted(tmp_path: Path, column: str) -> None:
    path = tmp_path / "archive.db"
    with SqlArchive(path) as archive:
        archive.put([row("c1"), row("c2", customer_id="ada")])
        with sqlite3.connect(path) as raw:
            raw.execute(
                f"UPDATE conversation_state SET {column} = CAST(? AS TEXT) WHERE conversation_id = 'c2'",
                [b"secret-\xff"],
            )
        raw.close()
        with pytest.raises(ArchiveError, match="holds a text that is no UTF-8") as caught:
            list(archive.rows())
        assert caught.value.reason == "damaged"
        assert "secret" not in str(caught.value)
        # What it does not touch is there.
        assert archive.find("c1") == row("c1")
