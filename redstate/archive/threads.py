"""The threads in which a store talks to its archive, whose calls block; and how each colour waits for them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from redstate.errors import ArchiveError, ConfigurationError, StoreClosed
from redstate.transport.base import forget_at_fork

if TYPE_CHECKING:
    from redstate._settings import Settings
    from redstate.archive.sql import SqlArchive

T = TypeVar("T")
Work = Callable[["SqlArchive"], T]


class ArchiveThread:
    """An archive, and the thread for it, which is started when it is first needed.

    Args:
        archive: it connects when it is first used.
        owned: whether it is closed with the thread.
    """

    def __init__(self, archive: SqlArchive, *, owned: bool) -> None:
        self.archive = archive
        self._owned = owned
        self._closed = False
        self.forget()
        forget_at_fork(self)

    def forget(self) -> None:
        """In a forked child: the parent's thread is not here, and may have held the lock."""
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None

    def submit(self, work: Work[T]) -> Future[T]:
        """Have work done on the archive.

        Raises:
            StoreClosed: it was closed.
        """
        with self._lock:
            if self._closed:
                raise StoreClosed("The store is closed", next_step="Open a new store")
            if self._executor is None:
                self._executor = ThreadPoolExecutor(1, thread_name_prefix="redstate-archive")
            return self._executor.submit(work, self.archive)

    def another(self) -> ArchiveThread:
        """One more thread for the same archive, which it does not own: close it first."""
        return ArchiveThread(self.archive, owned=False)

    def close(self) -> None:
        """Finish what was begun, and close the archive if it is owned."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()
        if self._owned:
            self.archive.close()


def archive_thread(settings: Settings) -> ArchiveThread:
    """The archive of a store's settings. No I/O.

    Raises:
        ConfigurationError: it is neither path nor URL nor archive.
        MissingExtra: SQLAlchemy, or the database's driver, is not installed.
    """
    target = settings.archive
    if isinstance(target, (str, os.PathLike)) and os.fspath(target):
        from redstate.archive import SqlArchive

        return ArchiveThread(SqlArchive(target, timeout=settings.timeout), owned=True)
    if target is None or isinstance(target, (str, os.PathLike)) or not hasattr(target, "put"):
        raise ConfigurationError("archive names nothing", next_step="Pass a path, a URL, or a SqlArchive")
    return ArchiveThread(target, owned=False)


class LoopArchive:
    """For the tasks of an event loop."""

    def __init__(self, thread: ArchiveThread) -> None:
        self.thread = thread

    async def run(self, work: Work[T], timeout: float | None = None) -> T:
        """What ``work`` makes of the archive.

        Args:
            work: what to do. Once it was begun it goes on, also where nobody waits for it any more.
            timeout: seconds to wait for it at most, its turn included; what has not had its turn then is not done.

        Raises:
            ArchiveError: the database could not do it, or not in time.
        """
        submitted = self.thread.submit(work)
        future = asyncio.wrap_future(submitted)
        future.add_done_callback(lambda late: late.cancelled() or late.exception())  # maybe nobody asks for it any more
        try:
            return await asyncio.wait_for(asyncio.shield(future), timeout)
        except TimeoutError:
            submitted.cancel()
            raise _late(timeout) from None

    async def close(self) -> None:
        """Finish and close."""
        await asyncio.to_thread(self.thread.close)


class ThreadArchive:
    """For threads: as :class:`LoopArchive`, blocking."""

    def __init__(self, thread: ArchiveThread) -> None:
        self.thread = thread

    def run(self, work: Work[T], timeout: float | None = None) -> T:
        """As :meth:`LoopArchive.run`."""
        submitted = self.thread.submit(work)
        try:
            return submitted.result(timeout)
        except TimeoutError:
            submitted.cancel()
            raise _late(timeout) from None

    def close(self) -> None:
        """Finish and close."""
        self.thread.close()


def _late(timeout: float | None) -> ArchiveError:
    # Without a limit it was the database's driver, or the system, whose patience ended.
    within = "in time" if timeout is None else f"within {timeout:g} s"
    return ArchiveError(f"The archive did not answer {within}", path="", reason="timeout")
