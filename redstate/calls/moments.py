"""The server's times, microseconds since 1970, as moments."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def moment(us: int) -> datetime:
    """A time of the server's clock in microseconds, in UTC."""
    return EPOCH + timedelta(microseconds=us)
