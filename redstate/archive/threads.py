"""The one thread in which a store talks to its archive, whose calls block; and how each colour waits for it."""

from __future__ import annotations

import asyncio
import concurrent.futures
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
    """An archive, and the thread for it; both are opened when they are first needed.

    Args:
        target: a path or URL, or an archive, which is then not closed here.
        timeout: seconds that a call of an archive that is opened here may take.
    """

    def __init__(self, target: str | SqlArchive, timeout: float) -> None:
        self._target = target
        self._timeout = timeout
        self._closed = False
        self._opened: SqlArchive | None = None
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
            return self._executor.submit(lambda: work(self.archive()))

    def archive(self) -> SqlArchive:
        """The archive itself.

        Raises:
            ConfigurationError: it cannot be what was named.
            MissingExtra: SQLAlchemy, or the database's driver, is not installed.
        """
        if not isinstance(self._target, str):
            return self._target
        if self._opened is None:
            from redstate.archive.sql import SqlArchive

            self._opened = SqlArchive(self._target, timeout=self._timeout)
        return self._opened

    def close(self) -> None:
        """Finish what was begun, and close what was opened here."""
        with self._lock:
            self._closed = True
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.shutdown()
        if self._opened is not None:
            self._opened.close()


def archive_thread(settings: Settings) -> ArchiveThread:
    """The archive of a store's settings.

    Raises:
        ConfigurationError: it is neither path nor URL nor archive.
    """
    target = settings.archive
    if isinstance(target, os.PathLike):
        target = os.fspath(target)
    if target is None or (isinstance(target, str) and not target):
        raise ConfigurationError("archive names nothing", next_step="Pass a path, a URL, or a SqlArchive")
    return ArchiveThread(target, settings.timeout)


class LoopArchive:
    """For the tasks of an event loop."""

    def __init__(self, thread: ArchiveThread) -> None:
        self.thread = thread

    async def run(self, work: Work[T], timeout: float | None = None) -> T:
        """What ``work`` makes of the archive.

        Args:
            work: what to do; it goes on in any case.
            timeout: seconds to wait for it at most.

        Raises:
            ArchiveError: the database could not do it, or not in time.
        """
        future = asyncio.wrap_future(self.thread.submit(work))
        try:
            return await asyncio.wait_for(asyncio.shield(future), timeout)
        except TimeoutError:
            future.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody asks for it any more
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
        try:
            return self.thread.submit(work).result(timeout)
        except concurrent.futures.TimeoutError:
            raise _late(timeout) from None

    def close(self) -> None:
        """Finish and close."""
        self.thread.close()


def _late(timeout: float | None) -> ArchiveError:
    return ArchiveError(f"The archive did not answer within {timeout:g} s", path="", reason="timeout")
