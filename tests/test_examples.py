"""The examples do what they say."""

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_the_shop_serves_a_conversation_by_one_command() -> None:
    command = [sys.executable, EXAMPLES / "shop.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("The cart of conv-")
    assert first.endswith(" costs 0.80")
    assert second == "Its state: {'step': 'shopping'}"
