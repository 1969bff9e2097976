"""What the supervisor and its workers need to know."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from redstate._discovery import endpoint_from_url
from redstate.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnerSettings:
    """What to run, and how.

    Attributes:
        api_key: the platform's key.
        path: the folder whose agent classes are served, found as the SDK's dispatcher does. It is what
            ``sys.path`` begins with in the workers.
        classes: the agent classes to serve, as ``"module:Class"``, instead of those found in ``path``.
        workers: how many processes.
        url: the server of the state, as ``REDSTATE_URL`` of the workers; by default ``REDSTATE_URL``, then
            ``REDIS_URL`` of the environment, one of which must then be set.
        platform_url: by default the SDK's.
        customer_id: by default the SDK's, derived from the key.
        options: further keywords for the constructor of each agent; plain JSON.
        environment: variables that the workers have besides this process's. Each finds its number in
            ``REDSTATE_WORKER``; a restarted worker and a replacement keep it.
        archive: where conversations go when they have ended, a path or URL, as ``REDSTATE_ARCHIVE`` of the workers; by
            default that of the environment. With it there is a sweeper beside the workers.
        idle: seconds of silence after which a conversation counts as abandoned, as ``REDSTATE_IDLE`` of the workers.
        merge: the function that makes what goes into customers' profiles, as ``"module:name"``; ``REDSTATE_MERGE`` of
            the workers.
        sweep: whether there is that sweeper; else ``redstate sweep`` has to run elsewhere.
        grace: seconds that calls in flight have when a worker stops.
        stall_timeout: seconds without a report after which a worker is killed and replaced.
        start_timeout: seconds that a worker may take until it is ready.
        log_format: ``"json"`` or ``"text"``, for the workers' logs.
        log_level: the least level that they log.
        output: file descriptor that takes what the workers write to stdout and stderr; by default this process's own.
    """

    api_key: str = field(repr=False)
    path: Path | None = None
    classes: tuple[str, ...] = ()
    workers: int = 1
    url: str | None = field(default=None, repr=False)
    platform_url: str | None = None
    customer_id: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    archive: str | None = field(default=None, repr=False)
    idle: float | None = None
    merge: str | None = None
    sweep: bool = True
    grace: float = 30.0
    stall_timeout: float = 10.0
    start_timeout: float = 60.0
    log_format: str = "json"
    log_level: str = "INFO"
    output: int | None = None

    def check(self) -> None:
        """Refuse what cannot work, as far as it can be told without starting anything.

        Raises:
            ConfigurationError: says what, and what to do.
        """
        if self.path is None and not self.classes:
            raise ConfigurationError("there is nothing to serve", next_step="Pass path= or classes=")
        if self.path is not None and not self.path.is_dir():
            what = "is no folder" if self.path.exists() else "does not exist"
            raise ConfigurationError(f"{self.path} {what}", next_step="Pass the folder that holds the agents' files")
        if not self.api_key:
            raise ConfigurationError("there is no API key", next_step="Set CONVERSIMPLE_API_KEY, or pass --api-key")
        if self.workers < 1:
            raise ConfigurationError("the number of workers must be 1 or more")
        self._check_server()
        self._check_archive()

    @property
    def sweeps(self) -> bool:
        """Whether there is to be a sweeper."""
        return self.sweep and bool(self._archive)

    @property
    def _archive(self) -> str | None:
        return self.archive or {**os.environ, **self.environment}.get("REDSTATE_ARCHIVE")

    def _check_archive(self) -> None:
        if self._archive:
            from redstate.archive.opening import named_archive

            named_archive(self._archive)
        elif self.idle is not None or self.merge is not None:
            raise ConfigurationError(
                "conversations are kept in no archive, so that none counts as abandoned or is merged",
                next_step="Set REDSTATE_ARCHIVE or pass --archive, or leave out --idle and --merge",
            )

    def _check_server(self) -> None:
        given = {**os.environ, **self.environment}
        url = self.url or given.get("REDSTATE_URL") or given.get("REDIS_URL")
        if not url:
            # Each worker would start a server of its own, and conversations would be lost between them.
            raise ConfigurationError(
                "no server is named that the workers could share",
                next_step="Set REDSTATE_URL or pass --url; to try things out, pass --embedded",
            )
        endpoint_from_url(url)

    def environment_of(self, number: int) -> dict[str, str]:
        """Return the environment of the worker with this number; of the sweeper for 0."""
        mine = {
            "REDSTATE_WORKER": str(number) if number else None,
            "REDSTATE_URL": self.url,
            "REDSTATE_ARCHIVE": self.archive,
            "REDSTATE_IDLE": None if self.idle is None else str(self.idle),
            "REDSTATE_MERGE": self.merge,
        }
        return {**os.environ, **self.environment, **{name: value for name, value in mine.items() if value is not None}}

    def for_worker(self, number: int, report_fd: int, *, check: bool = False) -> WorkerSettings:
        """Return what the worker with this number is told."""
        return WorkerSettings(
            number=number,
            report_fd=report_fd,
            check=check,
            path=None if self.path is None else str(self.path.resolve()),
            classes=list(self.classes),
            api_key=self.api_key,
            platform_url=self.platform_url,
            customer_id=self.customer_id,
            options=dict(self.options),
            grace=self.grace,
            log_format=self.log_format,
            log_level=self.log_level,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    """What one worker is told: as ``RunnerSettings``, and

    Attributes:
        number: which worker it is, from 1.
        report_fd: where it writes its reports.
        check: only look which agents there are, report them, and end.
    """

    number: int
    report_fd: int
    check: bool
    path: str | None
    classes: list[str]
    api_key: str = field(repr=False)
    platform_url: str | None
    customer_id: str | None
    options: dict[str, Any] = field(repr=False)
    grace: float
    log_format: str
    log_level: str

    def to_line(self) -> bytes:
        """Return the settings as one line of JSON."""
        return json.dumps(asdict(self)).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes) -> WorkerSettings:
        """Read what ``to_line`` made."""
        return cls(**json.loads(line))
