"""What the server, or the archive's database, could not do; and what was left open."""

from __future__ import annotations

from typing import Any, ClassVar

from redstate.errors._base import RedstateError


class OutcomeUnknown(RedstateError):
    """The change was sent and no answer came. Attributes: ``op_id``, ``key``."""

    advice = (
        "Repeat the call with op_id set to this error's op_id: it runs at most once and returns the first result; "
        "where the call takes none, conversation.applied(op_id) tells whether it ran"
    )
    op_id: str


class StoreError(RedstateError):
    """The server could not do it; as far as this call is concerned, nothing was written."""

    # Message and advice are for who runs the server, and can name its address.
    spoken: ClassVar[str] = "The state cannot be used at present; nothing was changed"

    def as_result(self) -> dict[str, Any]:
        """A neutral ``error`` and the ``error_type``: nothing that tells of the server, or of how to mend it."""
        return {"error": self.spoken, "error_type": type(self).__name__}


class ServerUnavailable(StoreError):
    """No connection to the server. Attributes: ``address``."""

    advice = "Check that the server runs and that the URL is right"
    spoken = "The state could not be reached; nothing was changed"
    address: str


class CallTimeout(StoreError):
    """No answer before the deadline, and nothing is in doubt: the call only read, or was never sent."""

    advice = "Repeat the call, or raise the timeout (seconds)"
    spoken = "The state did not answer in time; nothing was changed"


class Overloaded(StoreError):
    """Too many calls wait in this process already. Attributes: ``limit``."""

    advice = "Slow down, spread the load over more processes, or raise max_in_flight"
    spoken = "Too much is being done at once; nothing was changed"
    limit: int


class AuthenticationFailed(StoreError):
    """The server refused the credentials."""

    advice = "Check the user name and the password of the URL"


class PermissionDenied(StoreError):
    """The user lacks a command, a key pattern or a channel."""

    advice = "Grant the user the access list of ARCHITECTURE.md"


class ReadOnlyServer(StoreError):
    """The server is a replica and takes no writes."""

    advice = "Point the URL at the primary"


class StoreFull(StoreError):
    """The server's memory is full. Reading and deleting still work."""

    advice = "Raise maxmemory, or delete what is no longer needed"
    spoken = "There is no room to store more; nothing was changed"


class ServerLoading(StoreError):
    """The server is still reading its data set."""

    advice = "Wait until it has loaded, then repeat the call"


class ServerBusy(StoreError):
    """A script that runs long blocks the server."""

    advice = "Wait, or end it with SCRIPT KILL"


class WriteRefused(StoreError):
    """The server takes no writes now, for reasons of persistence or of missing replicas."""

    advice = "See the server's log (MISCONF, NOREPLICAS), mend it, and repeat the call"


class ArchiveError(StoreError):
    """The archive's database could not do it; nothing was written.

    Attributes: ``path`` (of its file, or host and database), ``reason`` ("locked", "timeout", "unopenable",
    "read-only", "full", "damaged", "unreachable", "busy", "auth", "permission", "newer" or "other").
    """

    advice = "See the reason, mend it, and repeat the call"
    spoken = "The archive could not be used; nothing was changed"
    path: str
    reason: str


class ServerRefused(StoreError):
    """The server refused the command. Attributes: ``code``."""

    code: str


class StoreClosed(RedstateError):
    """The store was used after it was closed."""

    advice = "Open a new store"
