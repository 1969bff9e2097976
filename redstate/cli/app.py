"""The commands and their options. Each error is told in one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from redstate import __version__
from redstate.cli.archive_commands import archive
from redstate.errors import ConfigurationError, InvalidInput, RedstateError

if find_spec("rich") is None:
    raise ModuleNotFoundError("rich is not installed", name="rich")

_EPILOG = "Each option can come from the environment too, as REDSTATE_DEMO_WORKERS=8."
_LOG_OPTIONS = (
    click.option("--log-format", type=click.Choice(["json", "text"]), help="By default text on a terminal, else JSON."),
    click.option(
        "--log-level",
        type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"], case_sensitive=False),
        default="INFO",
        show_default=True,
    ),
)
_ARCHIVE_HELP = "An SQLite file's path, or a PostgreSQL URL; by default REDSTATE_ARCHIVE."
_MERGE_HELP = "Makes what goes into customers' profiles; by default REDSTATE_MERGE."
_IDLE_HELP = "Seconds of silence after which a conversation counts as abandoned; by default REDSTATE_IDLE, then 1800."
_RUN_EPILOG = "Each option can come from the environment too, as REDSTATE_RUN_WORKERS=8."


def _logged(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of what logs."""
    for option in reversed(_LOG_OPTIONS):
        command = option(command)
    return command


@click.group(context_settings={"auto_envvar_prefix": "REDSTATE", "help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="redstate %(version)s")
def cli() -> None:
    """State in Redis or Valkey for conversational agents that run in many processes."""


@cli.command(epilog=_EPILOG)
@click.option("--url", metavar="URL", help="Use this server; by default a private one is started.")
@click.option("--conversations", type=click.IntRange(1, 10_000), default=200, show_default=True)
@click.option(
    "--concurrency", type=click.IntRange(1, 10_000), default=40, show_default=True, help="Conversations at a time."
)
@click.option("--workers", type=click.IntRange(1, 64), default=4, show_default=True, help="Processes that serve them.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same conversations.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 300),
    default=30.0,
    show_default=True,
    help="Seconds that a tool call may take.",
)
@click.option("--calm", is_flag=True, help="Leave the workers alone: kill none, and replace none.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--keep", is_flag=True, help="Keep the data: a private server goes on until Ctrl-C.")
@click.option("--verify", metavar="URL", help="Run nothing; check the latest kept run on that server again.")
def demo(
    url: str | None,
    conversations: int,
    concurrency: int,
    workers: int,
    seed: int,
    timeout: float,
    calm: bool,
    as_json: bool,
    keep: bool,
    verify: str | None,
) -> int:
    """Serve conversations from several processes and check the books.

    Starts a server, a local platform and worker processes, each a real SDK agent with a shop's tools, and drives
    conversations through them. Meanwhile it kills one worker and replaces another; the others take their conversations
    over. Then everything is read back from the server and held against the plan. The exit status is 0 only if all of it
    is right.
    """
    from redstate.cli import demo as command
    from redstate.demo.run import DemoOptions

    if verify is not None:
        if url is not None or keep:
            raise click.UsageError("--verify goes with neither --url nor --keep")
        return command.verify_run(verify, as_json)
    options = DemoOptions(conversations, concurrency, workers, seed, timeout, trouble=not calm)
    return command.run(url, options, as_json=as_json, keep=keep)


@cli.command("run", epilog=_RUN_EPILOG)
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--workers",
    type=click.IntRange(1, 512),
    default=lambda: os.cpu_count() or 1,
    help="Processes; by default one a core.",
)
@click.option("--url", metavar="URL", help="The server of the state; by default REDSTATE_URL, then REDIS_URL.")
@click.option("--embedded", is_flag=True, help="Start a private server for the state, to try things out.")
@click.option("--api-key", envvar="CONVERSIMPLE_API_KEY", metavar="KEY", help="Better given as CONVERSIMPLE_API_KEY.")
@click.option("--platform-url", envvar="CONVERSIMPLE_PLATFORM_URL", metavar="URL", help="By default the SDK's.")
@click.option("--customer-id", envvar="CONVERSIMPLE_CUSTOMER_ID", metavar="ID", help="By default the SDK's.")
@click.option(
    "--grace",
    type=click.FloatRange(0, 3600),
    default=30.0,
    show_default=True,
    help="Seconds that calls in flight have when a worker stops.",
)
@click.option(
    "--stall-timeout",
    type=click.FloatRange(1.5, 3600),
    default=10.0,
    show_default=True,
    help="Seconds after which a worker that does not report is killed.",
)
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="Serve /metrics, /healthz and /readyz here.")
@click.option("--metrics-host", default="127.0.0.1", show_default=True, metavar="HOST", help="The address for that.")
@click.option(
    "--archive",
    envvar=["REDSTATE_RUN_ARCHIVE", "REDSTATE_ARCHIVE"],
    metavar="PATH|URL",
    help="Where conversations go when they have ended; by default REDSTATE_ARCHIVE, and nowhere without.",
)
@click.option("--idle", type=click.FloatRange(0.1), metavar="SECONDS", help=_IDLE_HELP)
@click.option("--merge", metavar="MODULE:NAME", help=_MERGE_HELP)
@click.option("--sweep/--no-sweep", default=True, help="With --no-sweep, 'redstate sweep' has to run elsewhere.")
@_logged
def run_agents(
    path: Path,
    url: str | None,
    embedded: bool,
    metrics_port: int | None,
    metrics_host: str,
    log_format: str | None,
    log_level: str,
    api_key: str | None,
    **settings: Any,
) -> int:
    """Serve the agents in the folder PATH from several processes.

    Finds agents as the SDK's dispatcher does: subclasses of redstate.conversimple.StatefulAgent that have an agent_id,
    in the folder's .py files and packages. A worker that crashes or hangs is replaced. SIGTERM and Ctrl-C let the calls
    in flight finish; a second Ctrl-C does not. SIGHUP replaces the workers one by one, with the code as it is then.
    With an archive a further process archives what has ended, and ends what was abandoned.
    """
    if url is not None and embedded:
        raise click.UsageError("--url does not go with --embedded")
    from redstate.cli import run as command
    from redstate.conversimple.runner import RunnerSettings

    return command.run(
        RunnerSettings(path=path, url=url, api_key=api_key or "", log_level=log_level.upper(), **settings),
        embedded=embedded,
        metrics=None if metrics_port is None else command.Metrics(metrics_host, metrics_port),
        log_format=log_format,
    )


@cli.command(epilog="Each option can come from the environment too, as REDSTATE_SWEEP_BATCH=200.")
@click.option("--url", metavar="URL", help="The server; by default REDSTATE_URL, then REDIS_URL.")
@click.option(
    "--archive", envvar=["REDSTATE_SWEEP_ARCHIVE", "REDSTATE_ARCHIVE"], metavar="PATH|URL", help=_ARCHIVE_HELP
)
@click.option("--idle", type=click.FloatRange(0.1), metavar="SECONDS", help=_IDLE_HELP)
@click.option(
    "--tombstone-ttl",
    type=click.FloatRange(0.001),
    metavar="SECONDS",
    help="For how long late changes of an archived one are refused; by default REDSTATE_TOMBSTONE_TTL, then 60.",
)
@click.option("--merge", metavar="MODULE:NAME", help=_MERGE_HELP)
@click.option(
    "--batch", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Conversations a transaction."
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="Conversations read in one go; half as many are merged, and a quarter taken out.",
)
@click.option(
    "--lease",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Seconds after which others take over what this one has not finished.",
)
@click.option(
    "--poll",
    type=click.FloatRange(0.01, 3600),
    default=0.5,
    show_default=True,
    help="Seconds between two looks where nothing is due.",
)
@click.option(
    "--nice",
    type=click.IntRange(0, 20),
    default=20,
    show_default=True,
    help="How far it stands back behind other processes: 0 for not at all; 20 to take only what they leave.",
)
@click.option("--once", is_flag=True, help="Archive what is due now, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once, print what was done as JSON.")
@_logged
def sweep(once: bool, as_json: bool, log_format: str | None, log_level: str, **settings: Any) -> int:
    """Archive conversations that have ended, and end abandoned ones.

    Takes ended conversations from the server to the archive, and those that nobody has used for the idle time. It goes
    on until SIGTERM or Ctrl-C. Any number may run at once, on any machines; 'redstate run --archive' starts one itself.
    """
    if as_json and not once:
        raise click.UsageError("--json goes with --once")
    from redstate.archive.process import SweepSettings
    from redstate.cli import sweep as command

    return command.run(
        SweepSettings(log_level=log_level.upper(), **settings), once=once, as_json=as_json, log_format=log_format
    )


cli.add_command(archive)


@cli.group()
def workflow() -> None:
    """Look at workflow definitions."""


@workflow.command()
@click.argument("target", metavar="MODULE:NAME")
@click.option("--format", "kind", type=click.Choice(["mermaid", "svg"]), help="By default as the file's ending says.")
@click.option("-o", "--output", metavar="FILE", help="Write to this file; by default to standard output.")
def diagram(target: str, kind: str | None, output: str | None) -> int:
    """Draw a workflow as Mermaid text or as SVG.

    MODULE:NAME is where it is imported from, such as shop.flows:BOOKING. Modules of the current folder are found.
    """
    from redstate.cli import workflow as command

    return command.diagram(target, kind, output)


def run(arguments: Sequence[str] | None) -> int:
    """Run the command line; returns the exit status."""
    try:
        status = cli.main(arguments, prog_name="redstate", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return 2
    except click.ClickException as error:
        return _told(error.format_message(), error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except (ConfigurationError, InvalidInput) as error:
        return _told(str(error), 2)
    except RedstateError as error:
        return _told(str(error), 1)
    return int(status or 0)


def _told(message: str, status: int) -> int:
    click.echo(f"error: {message}", err=True)
    return status
