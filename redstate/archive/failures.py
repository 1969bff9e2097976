"""What an error of a database means. Its own words are not passed on: they may quote what was to be stored."""

from __future__ import annotations

import sqlite3

from redstate.errors import ArchiveError

_SQLITE = {
    "SQLITE_BUSY": ("locked", "Another process holds the archive's lock"),
    "SQLITE_LOCKED": ("locked", "Another connection holds the archive's lock"),
    "SQLITE_CANTOPEN": ("unopenable", "The archive's file cannot be opened"),
    "SQLITE_READONLY": ("read-only", "The archive's file cannot be written"),
    "SQLITE_PERM": ("read-only", "The archive's file cannot be written"),
    "SQLITE_FULL": ("full", "The archive's disk is full"),
    "SQLITE_NOTADB": ("damaged", "The archive's file is no SQLite database"),
    "SQLITE_CORRUPT": ("damaged", "The archive's file is damaged"),
}

_UNREACHABLE = ("unreachable", "The archive's database cannot be reached")
_AUTH = ("auth", "The archive's database does not accept the user or the password")
_UNOPENABLE = ("unopenable", "The archive's database does not exist")
_LOCKED = ("locked", "Another transaction is in the archive's way")
_BUSY = ("busy", "The archive's database has no connection left")

# By SQLSTATE; where a code is not listed, its class, the first two letters, says it.
_POSTGRES = {
    "08": _UNREACHABLE,
    "57": _UNREACHABLE,  # it shuts down, or starts
    "57014": ("timeout", "The archive's database took too long, or waited too long for a lock"),
    "28": _AUTH,
    "3D": _UNOPENABLE,
    "3F": _UNOPENABLE,
    "42501": ("permission", "The archive's user may not do that in the database"),
    "25P03": ("timeout", "The archive's database ended a transaction in which nothing came for too long"),
    "25006": ("read-only", "The archive's database cannot be written now"),
    "40": _LOCKED,  # deadlocks and conflicts of transactions
    "55P03": _LOCKED,
    "53": ("full", "The archive's database has run out of disk or memory"),
    "53300": _BUSY,
    "XX": ("damaged", "The archive's database is damaged"),
    "42P01": ("damaged", "The archive's table is gone"),
}

# A connection that is refused comes with no code, only with words (of a server that speaks English).
_REFUSALS = (
    ("authentication failed", _AUTH),
    ("no password supplied", _AUTH),
    ("pg_hba.conf", _AUTH),
    ('role "', _AUTH),
    ('database "', _UNOPENABLE),
    ("permission denied for database", ("permission", "The archive's user may not open the database")),
    ("too many c", _BUSY),
    ("remaining connection slots", _BUSY),
)


def failure(error: BaseException | None, path: str) -> ArchiveError:
    """The error to raise in place of a driver's.

    Args:
        error: what the driver raised.
        path: of the archive's file, or its host and database.
    """
    reason, message = _sqlite(error) if isinstance(error, sqlite3.Error) else _postgres(error)
    return ArchiveError(f"{message} ({reason}): {path}", path=path, reason=reason)


def _sqlite(error: sqlite3.Error) -> tuple[str, str]:
    if str(error).startswith("Could not decode to UTF-8"):  # by Python's module, which has no code for it
        return "damaged", "The archive holds a text that is no UTF-8, which redstate did not write"
    # The name of the code can have a suffix that tells which kind it is of: SQLITE_READONLY_DIRECTORY.
    name = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
    return _SQLITE.get(name) or _other(name or type(error).__name__)


def _postgres(error: BaseException | None) -> tuple[str, str]:
    code = getattr(error, "sqlstate", None)
    if code:
        return _POSTGRES.get(code) or _POSTGRES.get(code[:2]) or _other(code)
    name = type(error).__name__
    if name not in {"OperationalError", "InterfaceError", "ConnectionTimeout"}:
        return _other(name)
    text = str(error)
    return next((meaning for words, meaning in _REFUSALS if words in text), _UNREACHABLE)


def _other(name: str) -> tuple[str, str]:
    return "other", f"The archive's database refused ({name})"
