"""One worker process: ``python -m redstate.conversimple.runner.worker``, started by the supervisor.

Its settings come as one JSON line on stdin, where no list of processes shows them. SIGTERM drains it, and so does the
end of stdin, so that it never outlives its parent, however that ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading

from redstate._child import CONFIGURATION, CRASHED, UNAVAILABLE, loop_factory, stop_with_parent
from redstate._redaction import Redaction
from redstate.conversimple.runner import logs
from redstate.conversimple.runner.discovery import discover
from redstate.conversimple.runner.reports import EventForwarder, Reports
from redstate.conversimple.runner.serving import PlatformUnreachable, Serving
from redstate.conversimple.runner.settings import WorkerSettings
from redstate.errors import ConfigurationError, RedstateError

logger = logging.getLogger("redstate.conversimple.runner")

_REPORT_EVERY = 1.0
_SAMPLE_EVERY = 0.1  # of the event loop's lag
_LAST_RESORT = 5.0  # seconds after the grace period when a worker without a parent ends anyhow
_THREADS_WITHIN = 1.0  # seconds that threads of tools have to end when all else has


def main() -> int:
    """Serve as the line on stdin says; returns the exit status."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        return 0
    settings = WorkerSettings.of_line(line)
    redaction = Redaction(settings.api_key)
    reports = Reports(settings.report_fd)
    logs.setup(settings.log_format, settings.log_level, redaction, settings.number or None)
    logging.getLogger("redstate").addHandler(EventForwarder(reports, redaction))
    try:
        return _check(settings, reports) if settings.check else _work(settings, reports)
    except ConfigurationError as error:
        return reports.failed(redaction(error.message), error.next_step, CONFIGURATION)
    except PlatformUnreachable as error:
        return reports.failed(redaction(str(error)), "Check the platform's URL and the API key", UNAVAILABLE)
    except Exception as error:
        # Not only the parent hears of it: the traceback belongs into the log.
        logger.exception("the worker cannot go on")
        reason = error.message if isinstance(error, RedstateError) else f"{type(error).__name__}: {error}"
        return reports.failed(redaction(reason), "See the traceback in the log", CRASHED)


def _check(settings: WorkerSettings, reports: Reports) -> int:
    found = discover(settings.path, settings.classes)
    reports.agents("discovered", list(found.agents))
    for reason in found.skipped:
        reports.send("skipped", reason=reason)
    return 0


def _work(settings: WorkerSettings, reports: Reports) -> int:
    # What the dispatcher says about the classes was said when they were checked.
    logging.getLogger("conversimple.dispatcher").setLevel(logging.ERROR)
    classes = discover(settings.path, settings.classes).agents
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(Serving(classes, settings), settings, reports))


async def _serve(serving: Serving, settings: WorkerSettings, reports: Reports) -> int:
    stop = asyncio.Event()
    _stop_by_signal(stop)
    stop_with_parent(stop.set, settings.grace + _LAST_RESORT)
    if not await _started(serving, stop):
        return 0
    reports.agents("ready", list(serving.agents))
    reporting = asyncio.create_task(_report(serving, reports, stop))
    await stop.wait()
    given_up = serving.given_up()
    await serving.drain()
    reporting.cancel()
    reports.send("report", loop_lag=0.0, **serving.figures())
    _end_by(_THREADS_WITHIN, 0 if given_up is None else UNAVAILABLE)
    if given_up is not None:
        reason = f"agent {given_up} lost its connection to the platform for good"
        return reports.failed(reason, "See the log; the platform may refuse the API key now", UNAVAILABLE)
    return 0


def _end_by(seconds: float, status: int) -> None:
    """End the process in any case: the thread of a tool that timed out may go on, and Python waits for it."""

    def end() -> None:
        logger.warning("a thread of a tool goes on; the worker ends without it")
        logging.shutdown()
        os._exit(status)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


async def _started(serving: Serving, stop: asyncio.Event) -> bool:
    """Start the agents unless the worker is to stop meanwhile; tells whether they are started."""
    starting, stopping = asyncio.create_task(serving.start()), asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait((starting,))
        return False
    await starting
    return True


async def _report(serving: Serving, reports: Reports, stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    worst, last = 0.0, loop.time()
    reports.send("report", loop_lag=worst, **serving.figures())
    while True:
        due = loop.time() + _SAMPLE_EVERY
        await asyncio.sleep(_SAMPLE_EVERY)
        worst = max(worst, loop.time() - due)
        if loop.time() - last >= _REPORT_EVERY:
            reports.send("report", loop_lag=round(worst, 6), **serving.figures())
            worst, last = 0.0, loop.time()
            # A worker that nobody can reach any more is no use; another one may have better luck.
            if serving.given_up() is not None:
                stop.set()


def _stop_by_signal(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


if __name__ == "__main__":
    sys.exit(main())
