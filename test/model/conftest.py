"""The reference models and what is held against them need no server."""

import os
import pathlib
import subprocess

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def drive():
    """drive("session_driver", lines): the result lines of a driver for a history."""
    build = TOP / "build" / os.environ.get("TAILRACE_BUILD", "dev") / "test" / "model"

    def run(name, lines):
        done = subprocess.run([build / name], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run
