"""``redstate run``: from signals to the supervisor, and from its end to an exit status."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from redstate._redaction import Redaction
from redstate.conversimple.runner import RestartFailed, RunnerSettings, Supervisor, logs
from redstate.conversimple.runner.figures import Figures
from redstate.conversimple.runner.narration import narrate
from redstate.embedded import EmbeddedServer

logger = logging.getLogger("redstate.conversimple.runner")


@dataclass(frozen=True, slots=True)
class Metrics:
    """Where metrics and health are served; port 0 is a free one."""

    host: str
    port: int


def run(settings: RunnerSettings, *, embedded: bool, metrics: Metrics | None, log_format: str | None) -> int:
    """Serve the agents until a signal stops it; returns the exit status.

    Args:
        settings: what to run.
        embedded: start a private server for the state.
        metrics: where to serve metrics; None for nowhere.
        log_format: ``"json"`` or ``"text"``; by default text on a terminal.

    Raises:
        ConfigurationError: a setting cannot work, or there is no agent to serve.
    """
    settings = replace(settings, log_format=log_format or ("text" if sys.stderr.isatty() else "json"))
    logs.setup(settings.log_format, settings.log_level, Redaction(settings.api_key))
    if not embedded:
        return asyncio.run(_supervise(settings, metrics))
    with EmbeddedServer.start() as server:
        return asyncio.run(_supervise(replace(settings, url=server.url), metrics))


async def _supervise(settings: RunnerSettings, metrics: Metrics | None) -> int:
    figures = Figures()
    supervisor = Supervisor(settings, narrate, figures)
    signals = _Signals(supervisor)
    with contextlib.ExitStack() as open_until_end:
        place = ""
        if metrics is not None:
            place = f"; metrics and health are at {open_until_end.enter_context(_http(supervisor, figures, metrics))}"
        try:
            if await signals.unless_stopped():
                logger.info("%d workers serve %s%s", settings.workers, ", ".join(supervisor.agents), place)
                await signals.stop.wait()
        finally:
            clean = await supervisor.stop()
        return 0 if clean else 128 + signals.received


@contextlib.contextmanager
def _http(supervisor: Supervisor, figures: Figures, metrics: Metrics) -> Iterator[str]:
    from redstate.conversimple.runner.http import HttpServer
    from redstate.conversimple.runner.metrics import exposition

    with HttpServer(supervisor, exposition(figures, supervisor.wanted), metrics.host, metrics.port) as server:
        yield server.url


class _Signals:
    """SIGTERM and SIGINT drain, a second SIGINT kills, SIGHUP replaces all workers one by one."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._restarts: set[asyncio.Task[None]] = set()
        self.stop = asyncio.Event()
        self.received = 0
        loop = asyncio.get_running_loop()
        handlers: dict[int, Callable[..., object]] = {
            signal.SIGTERM: self._stop, signal.SIGINT: self._stop, signal.SIGHUP: self._restart_all
        }  # fmt: skip
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler, number)

    async def unless_stopped(self) -> bool:
        """Start the workers; False if a signal came before they were ready."""
        starting = asyncio.ensure_future(self._supervisor.start())
        stopping = asyncio.ensure_future(self.stop.wait())
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            stopping.cancel()
            await starting
            return True
        starting.cancel()
        await asyncio.wait((starting,))
        return False

    def _stop(self, number: int) -> None:
        if self.received and number == signal.SIGINT:
            logger.warning("the workers are killed")
            self._supervisor.kill()
        elif not self.received:
            self.received = number
            logger.info("the workers finish their calls and end")
            self.stop.set()

    def _restart_all(self, _: int) -> None:
        task = asyncio.ensure_future(self._restarted())
        self._restarts.add(task)
        task.add_done_callback(self._restarts.discard)

    async def _restarted(self) -> None:
        logger.info("the workers are replaced one by one")
        try:
            await self._supervisor.rolling_restart()
        except RestartFailed as error:
            logger.error("%s", error)
        else:
            logger.info("all workers were replaced")
