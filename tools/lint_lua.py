"""Checks the scripts as the server gets them: assembled, with every include in place.

Each is compiled by Lua 5.1; luacheck and luac5.1 check further where they are installed, and must be in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import lupa.lua51

from redstate import _scripts

LUACHECK = [
    "--std", "lua51", "--read-globals", "redis", "KEYS", "ARGV", "--max-line-length", "130", "--codes", "--quiet",
]  # fmt: skip


def main() -> int:
    lua = lupa.lua51.LuaRuntime()
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name in _scripts.names():
            source = _scripts.load(name).source
            try:
                lua.compile(source)
            except lupa.lua51.LuaError as error:
                print(f"{name}.lua: {error}", file=sys.stderr)
                failures += 1
            path = Path(folder) / f"{name}.lua"
            path.write_text(source)
            paths.append(str(path))
        for command in (["luacheck", *LUACHECK], ["luac5.1", "-p"]):
            if shutil.which(command[0]):
                failures += subprocess.run([*command, *paths], check=False).returncode != 0
            elif os.environ.get("CI"):
                print(f"{command[0]} is not installed", file=sys.stderr)
                failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
