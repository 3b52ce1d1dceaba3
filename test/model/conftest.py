"""The reference models and what is held against them need no server."""

import os
import pathlib
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def drive(tmp_path):
    """drive("store_driver", arguments, lines): the result lines of a driver for a history."""
    build = TOP / "build" / os.environ.get("TAILRACE_BUILD", "dev") / "test" / "model"

    def run(name, arguments, lines):
        done = subprocess.run([build / name, *map(str, arguments)], input="\n".join(lines) + "\n", capture_output=True,
                              text=True, check=False, cwd=tmp_path, env={**os.environ, "TMPDIR": "."})
        assert done.returncode == 0, done.stdout[-500:] + done.stderr[-5000:]
        return [line for line in done.stdout.splitlines() if line.startswith("{")]

    return run
