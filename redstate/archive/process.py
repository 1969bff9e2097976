"""A sweeper as a process: ``python -m redstate.archive.process``, as the runner starts it, or ``redstate sweep``.

Started by another process, its settings come as one JSON line on stdin, where no list of processes shows them. SIGTERM
and SIGINT let the batches under way finish, and so does the end of stdin, so that it never outlives its parent. It may
be killed at any moment: what it was at is taken up by the next one.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from redstate import AsyncStore, Backlog, _logs
from redstate._child import CONFIGURATION, CRASHED, Reports, loop_factory, stop_with_parent
from redstate._discovery import endpoint_from_url
from redstate._named import named_merge
from redstate._redaction import Redaction
from redstate.archive.figures import SweepFigures
from redstate.archive.opening import async_store, named_archive, named_server, shown_archive
from redstate.archive.sweeper import Sweeper
from redstate.errors import ArchiveError, ConfigurationError, DataError, RedstateError, StoreError

logger = logging.getLogger("redstate.archive")

_IDLE = 20
NICE_VARIABLE = "REDSTATE_SWEEP_NICE"

_REPORT_EVERY = 1.0
_SAY_EVERY = 5.0
_LAST_RESORT = 10.0  # seconds after which one without a parent ends anyhow


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """What a sweeper's process is told. What is None comes from the environment, as for every store.

    Attributes:
        url: the server; else REDSTATE_URL, then REDIS_URL.
        archive: a path or URL; else REDSTATE_ARCHIVE.
        idle, tombstone_ttl: seconds; see the store's settings.
        merge: the function that makes what goes into customers' profiles, as ``"module:name"``; else REDSTATE_MERGE.
        path: a folder where its module is looked for first.
        batch, concurrency, lease, poll: see :class:`Sweeper`.
        nice: how far it stands back behind other processes, from 0 to 19, or 20 to take only what they leave; else
            REDSTATE_SWEEP_NICE, else 20.
        report_fd: where it reports once a second; nowhere without.
        log_format: ``"json"`` or ``"text"``.
        log_level: the least level that it logs.
    """

    url: str | None = field(default=None, repr=False)
    archive: str | None = field(default=None, repr=False)
    idle: float | None = None
    tombstone_ttl: float | None = None
    merge: str | None = None
    path: str | None = None
    batch: int = 200
    concurrency: int = 16
    lease: float = 60.0
    poll: float = 0.5
    nice: int | None = None
    report_fd: int | None = None
    log_format: str = "json"
    log_level: str = "INFO"

    def to_line(self) -> bytes:
        """Return the settings as one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> SweepSettings:
        """Read what ``to_line`` made."""
        return cls(**json.loads(line))

    def check(self) -> None:
        """Refuse what cannot work, as far as it can be told without opening anything.

        Raises:
            ConfigurationError: says what, and what to do.
        """
        endpoint_from_url(named_server(self.url))
        named_archive(self.archive)

    def open(self) -> AsyncStore:
        """The store, with its archive; nothing is connected yet.

        Raises:
            ConfigurationError: no server or no archive is named, or a setting cannot work.
        """
        if self.path is not None:
            sys.path.insert(0, self.path)
        merge = None if self.merge is None else named_merge(self.merge)
        options = {"idle": self.idle, "tombstone_ttl": self.tombstone_ttl, "merge": merge}
        # Nothing is read twice here, so nothing is kept in memory.
        return async_store(self.url, self.archive, max_staleness=0, **options)

    def sweeper(self, store: AsyncStore) -> Sweeper:
        """A sweeper of the store, which must be called in the event loop."""
        return Sweeper(store, batch=self.batch, concurrency=self.concurrency, lease=self.lease, poll=self.poll)

    def stand_back(self) -> None:
        """Lower the priority. Threads that are there already keep theirs, so it is done before there are any."""
        nice = environment_nice() if self.nice is None else self.nice
        if nice < _IDLE:
            os.nice(nice)
            return
        try:
            # Whoever wakes up to serve a caller has the processor at once, and not when a slice of time is over.
            # Measured on two cores beside 300 writes/s: their p99 is 1.4 times the one without a sweeper, with nice 10
            # 1.6 times; and as the server is among those that come first, a fifth more conversations are archived.
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        except (AttributeError, OSError):  # another system, or a sandbox
            os.nice(_IDLE - 1)


def environment_nice() -> int:
    """What REDSTATE_SWEEP_NICE says; 20 without it.

    Raises:
        ConfigurationError: it is no whole number from 0 to 20.
    """
    text = os.environ.get(NICE_VARIABLE, str(_IDLE))
    if not (text.isascii() and text.isdigit()) or int(text) > _IDLE:
        raise ConfigurationError(
            f"{NICE_VARIABLE} is no whole number from 0 to {_IDLE}",
            next_step=f"Set it to one, or unset {NICE_VARIABLE}",
        )
    return int(text)


def main() -> int:
    """Sweep as the line on stdin says; returns the exit status."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return 0
    settings = SweepSettings.of_line(line)
    assert settings.report_fd is not None
    reports = Reports(settings.report_fd)
    redaction = Redaction()
    _logs.setup(settings.log_format, settings.log_level, redaction)
    try:
        settings.stand_back()
        return sweep_until_stopped(settings, reports)
    except ConfigurationError as error:
        return reports.failed(redaction(error.message), error.next_step, CONFIGURATION)
    except Exception as error:
        # Not only the parent hears of it: the traceback belongs into the log.
        logger.exception("the sweeper cannot go on")
        reason = error.message if isinstance(error, RedstateError) else f"{type(error).__name__}: {error}"
        return reports.failed(redaction(reason), "See the traceback in the log", CRASHED)


def sweep_until_stopped(settings: SweepSettings, reports: Reports | None = None) -> int:
    """Sweep until a signal, or the end of the parent that reads the reports; returns the exit status.

    Raises:
        ConfigurationError: a setting cannot work.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_sweep(settings, reports))


async def _sweep(settings: SweepSettings, reports: Reports | None) -> int:
    async with settings.open() as store:
        sweeper = settings.sweeper(store)
        stop_by_signal(sweeper.stop)
        if reports is not None:
            stop_with_parent(sweeper.stop, _LAST_RESORT)
            reports.send("ready")
        place = shown_archive(named_archive(settings.archive))
        idle = store._settings.longest_idle
        prefix = store._settings.key_prefix
        logger.info("sweeping %s (prefix %s) into %s; abandoned after %g s", store.address, prefix, place, idle)
        watch = _Watch(store, sweeper.figures, reports)
        telling = watch.start()
        try:
            await _try(store)
            await sweeper.run()
        finally:
            for task in telling:
                task.cancel()
            await asyncio.gather(*telling, return_exceptions=True)
        watch.tell_once()
        logger.info("stopped; archived: %d, of these abandoned: %d", *watch.counted)
    return 0


def _tell_of_death(task: asyncio.Task[None]) -> None:
    """A sweeper archives also without what tells how it gets on; but people must know that they are told less."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        logger.error("the sweeper goes on without its task %r", task.get_name(), exc_info=error)


async def _try(store: AsyncStore) -> None:
    """Open the archive, so that what is wrong with it shows before there is anything to put into it."""
    assert store._ended is not None
    try:
        await store._ended.run(lambda archive: archive.open())
    except ArchiveError as error:
        logger.warning("conversations wait in the store: %s", error, extra={"event": "archive_failed"})


def stop_by_signal(stop: Callable[[], object], at_once: Callable[[], object] = lambda: None) -> list[int]:
    """Have the running event loop call ``stop`` at SIGTERM and SIGINT; a second SIGINT ends the process at once.

    Args:
        stop: ends what is done in order.
        at_once: what is left to do before the process ends.

    Returns:
        the numbers of the signals, as they come.
    """
    received: list[int] = []

    def take(number: int) -> None:
        if received and number == signal.SIGINT:
            at_once()
            logging.shutdown()
            os._exit(128 + number)
        received.append(number)
        stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, take, number)
    return received


class _Watch:
    """Tells how a sweeper gets on: its parent each second, and people when something was archived."""

    def __init__(self, store: AsyncStore, figures: SweepFigures, reports: Reports | None) -> None:
        self._store = store
        self._figures = figures
        self._reports = reports
        self._backlog: Backlog | None = None
        self._unreadable = ""

    @property
    def counted(self) -> tuple[int, int]:
        """How many were archived, and how many of these were abandoned."""
        return self._figures.archived, self._figures.abandoned

    def start(self) -> list[asyncio.Task[None]]:
        """Begin to tell, in tasks that go on until they are cancelled."""
        tasks = [asyncio.create_task(work(), name=work.__name__) for work in (self.count, self.tell, self.say)]
        for task in tasks:
            task.add_done_callback(_tell_of_death)
        return tasks

    async def count(self) -> None:
        """Look again and again what there is to do, where anybody is told so each second."""
        while self._reports is not None:
            await self._look()
            await asyncio.sleep(_REPORT_EVERY)

    async def tell(self) -> None:
        """Report each second, also while the server does not answer."""
        while self._reports is not None:
            self.tell_once()
            await asyncio.sleep(_REPORT_EVERY)

    def tell_once(self) -> None:
        """Report the figures of now."""
        if self._reports is not None:
            backlog = None if self._backlog is None else asdict(self._backlog)
            self._reports.send("report", figures=asdict(self._figures), backlog=backlog)

    async def say(self) -> None:
        """Log what was archived lately."""
        archived, abandoned = self.counted
        while True:
            await asyncio.sleep(_SAY_EVERY)
            now = self.counted
            if now[0] > archived:
                await self._look()
                lately = now[0] - archived, now[1] - abandoned
                logger.info(
                    "archived: %d, of these abandoned: %d; %s", *lately, self._due(),
                    extra={"event": "archived", "archived": lately[0], "abandoned": lately[1]},
                )  # fmt: skip
                archived, abandoned = now

    async def _look(self) -> None:
        try:
            self._backlog = await self._store.archive.backlog()
            self._unreadable = ""
        except StoreError:
            self._backlog = None  # whatever it is, the sweeper meets it too, and says so
        except DataError as error:
            # Somebody may mend it while this runs. It is said once, and not each second.
            self._backlog = None
            if str(error) != self._unreadable:
                self._unreadable = str(error)
                logger.error("the backlog cannot be told: %s", error, extra={"event": "archive_corrupt"})

    def _due(self) -> str:
        backlog = self._backlog
        if backlog is None:
            return "due: unknown"
        return f"due: {backlog.due}" + (f", the first for {backlog.oldest:.0f} s" if backlog.due else "")


if __name__ == "__main__":
    sys.exit(main())
