"""Loads the Lua scripts: finds them, resolves their includes, reads their headers, knows their SHA-1.

Scripts lie in ``lua/`` at the top of the repository and in ``redstate/lua`` of an installed wheel. A line
``-- @include name`` is replaced by ``lua/include/name.lua``, once each; cycles and unknown names are refused.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from redstate.errors import ConfigurationError

_INCLUDE = re.compile(r"^[ \t]*-- @include (\w+)[ \t]*$", re.MULTILINE)
_HEADER_KEYS = ("KEYS", "ARGV", "RETURNS", "ERRORS", "COST")


@dataclass(frozen=True, slots=True)
class Header:
    """What the first lines of a script promise; a test holds it against the code.

    Attributes:
        purpose: one sentence.
        keys, argv: names in order; a last name ending in ``...`` stands for any number.
        returns: names of the words of the reply, version first.
        errors: the codes that the script can answer with.
        cost: its complexity.
    """

    purpose: str
    keys: tuple[str, ...]
    argv: tuple[str, ...]
    returns: tuple[str, ...]
    errors: tuple[str, ...]
    cost: str


@dataclass(frozen=True, slots=True)
class Script:
    """One assembled script: ``name``, ``source`` (includes resolved), ``sha`` (hex).

    ``evalsha`` are the words of the command that runs it on one key, up to the key; as bytes, which are framed in half
    the time that text takes.
    """

    name: str
    source: str
    sha: str
    header: Header
    evalsha: tuple[bytes, bytes, bytes]


def directory() -> Path:
    """Where the scripts lie.

    Beside this file in an installed wheel, else at the top of the repository; looking beside *this* file first means
    that a stale copy elsewhere on the path never wins over an editable checkout.
    """
    here = Path(__file__).resolve().parent
    for candidate in (here / "lua", here.parent / "lua"):
        if candidate.is_dir():
            return candidate
    raise ConfigurationError("The Lua scripts are missing from this installation", next_step="Reinstall redstate")


def assemble(path: Path) -> str:
    """The script at ``path`` with every include in place."""
    included: set[str] = set()

    def expand(text: str, trail: tuple[str, ...]) -> str:
        def splice(match: re.Match[str]) -> str:
            name = match[1]
            if name in trail:
                raise ConfigurationError(f"{path.name}: include cycle {' -> '.join((*trail, name))}")
            if name in included:
                raise ConfigurationError(f"{path.name}: {name} is included twice")
            included.add(name)
            file = path.parent / "include" / f"{name}.lua"
            if not file.is_file():
                raise ConfigurationError(f"{path.name}: there is no include {name}")
            return expand(file.read_text(encoding="utf-8").rstrip("\n"), (*trail, name))

        return _INCLUDE.sub(splice, text)

    return expand(path.read_text(encoding="utf-8"), ())


def parse_header(name: str, source: str) -> Header:
    """Reads the header comment; refuses a script that lacks a part of it."""
    lines = []
    for line in source.splitlines():
        if not line.startswith("--"):
            break
        lines.append(line[2:].strip())
    fields: dict[str, str] = {}
    prose: list[str] = []
    for line in lines:
        key, _, rest = line.partition(" ")
        if key in _HEADER_KEYS:
            # A part that is long goes on in a further line of the same name.
            fields[key] = f"{fields.get(key, '')} {rest}".strip()
        else:
            prose.append(line)
    purpose = " ".join(prose)
    missing = [key for key in _HEADER_KEYS if key not in fields]
    if missing or not purpose.startswith(f"{name}: "):
        raise ConfigurationError(f"{name}.lua: the header lacks {', '.join(missing) or 'its own name'}")
    return Header(
        purpose=purpose.removeprefix(f"{name}: "),
        keys=_numbered(fields["KEYS"]),
        argv=_numbered(fields["ARGV"]),
        returns=tuple(fields["RETURNS"].split()),
        errors=tuple(fields["ERRORS"].split()),
        cost=fields["COST"],
    )


def _numbered(text: str) -> tuple[str, ...]:
    """``1 writer  2 op  3... fields`` → ``("writer", "op", "fields...")``."""
    names = []
    for place, (number, dots, name) in enumerate(re.findall(r"(\d+)(\.\.\.)? ([a-z_]+(?:, [a-z_]+)*)", text), start=1):
        if int(number) != place:
            raise ConfigurationError(f"header numbers are out of order at {number} {name}")
        names.append(name + dots)
    return tuple(names)


@functools.cache
def load(name: str) -> Script:
    """The script called ``name``, assembled.

    Raises:
        ConfigurationError: no such script, or one that does not assemble.
    """
    path = directory() / f"{name}.lua"
    if not path.is_file():
        raise ConfigurationError(f"There is no script {name}", next_step="Reinstall redstate")
    source = assemble(path)
    sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
    evalsha = (b"EVALSHA", sha.encode(), b"1")
    return Script(name=name, source=source, sha=sha, header=parse_header(name, source), evalsha=evalsha)


def names() -> tuple[str, ...]:
    """Every script's name, sorted."""
    return tuple(sorted(path.stem for path in directory().glob("*.lua")))
