"""The reference models and what is held against them need no server."""

import os
import pathlib
import subprocess
import tempfile

import pytest

# Nothing is killed here: a folder in memory will do, where a disk would be waited for.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def drive():
    """drive("store_driver", arguments, lines): the result lines of a driver for a history."""
    build = TOP / "build" / os.environ.get("TAILRACE_BUILD", "dev") / "test" / "model"

    def run(name, arguments, lines):
        with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
            done = subprocess.run([build / name, *map(str, arguments)], input="\n".join(lines) + "\n",
                                  capture_output=True, text=True, check=False, cwd=folder,
                                  env={**os.environ, "TMPDIR": "."})
        assert done.returncode == 0, done.stdout[-500:] + done.stderr[-5000:]
        return [line for line in done.stdout.splitlines() if line.startswith("{")]

    return run
