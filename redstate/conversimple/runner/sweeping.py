"""The sweeper beside the workers: one process that archives what has ended, kept running like they are."""

from __future__ import annotations

from redstate.conversimple.runner.process import ChildProcess, Heard
from redstate.conversimple.runner.settings import RunnerSettings

# In place of a worker's number.
SWEEPER = 0


class SweeperProcess(ChildProcess):
    """A running sweeper. Where it sweeps, and what to, it finds in its environment.

    Args:
        settings: the runner's.
        heard: is called in the event loop with the process and each report.
    """

    # It takes only what others leave of the processors, and may have to wait for that.
    patience = 6.0

    def __init__(self, settings: RunnerSettings, heard: Heard) -> None:
        # Only who archives needs SQLAlchemy.
        from redstate.archive.process import SweepSettings

        def line(report_fd: int) -> bytes:
            return SweepSettings(
                path=None if settings.path is None else str(settings.path.resolve()),
                report_fd=report_fd,
                log_format=settings.log_format,
                log_level=settings.log_level,
            ).to_line()

        super().__init__("redstate.archive.process", SWEEPER, settings, line, heard)
