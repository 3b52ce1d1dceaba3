"""Real SDKs, installed outside the tree, and what they say they sent."""

import fcntl
import hashlib
import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("CACHE", pathlib.Path.home() / ".cache" / "tailrace"))
POSTHOG_JS = "posthog-js@1.449.2"


def cached(name, source, make):
    """A folder made once for the bytes of source; make(folder) fills it. Who comes meanwhile waits."""
    key = hashlib.sha256(source).hexdigest()[:12]
    folder = CACHE / f"{name}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(CACHE / f"{name}-{key}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            make(folder)
            (folder / "ready").touch()
    return folder


def must(argv, cwd, **kwargs):
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=600, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def node_modules():
    package = (HERE / "node" / "package.json").read_bytes()

    def make(folder):
        (folder / "package.json").write_bytes(package)
        must(["npm", "install", "--no-audit", "--no-fund"], folder)
        must(["npm", "pack", POSTHOG_JS], folder)
        must(["tar", "xzf", next(folder.glob("posthog-js-*.tgz")).name], folder)

    return cached("node", package + POSTHOG_JS.encode(), make)


@pytest.fixture(scope="session")
def go_programs():
    """The folder with the programs "send" and "persons"."""
    source = b"".join((HERE / "go" / name).read_bytes() for name in ("go.mod", "go.sum", "main.go", "persons/main.go"))

    def make(folder):
        must(["go", "build", "-o", str(folder / "send"), "."], HERE / "go")
        must(["go", "build", "-o", str(folder / "persons"), "./persons"], HERE / "go")

    return cached("go", source, make)


class Sdk:
    """One real SDK: send() and persons() run its programs, which print JSON lines."""

    def __init__(self, name, request):
        self.name, self.request = name, request

    def send(self, host, token, count, wait_ms=1500, strict=True):
        """Sends count events; returns what the SDK was told to send."""
        return self.run("send", host, token, str(count), strict=strict, WAIT_MS=str(wait_ms))

    def persons(self, host, token):
        """Tells a story of people."""
        return self.run("persons", host, token)

    def run(self, program, *args, strict=True, **env):
        if strict:
            env["EXPECT_NO_ERRORS"] = "1"
        if self.name == "python":
            argv = [sys.executable, str(HERE / "python" / f"{program}.py"), *args]
        elif self.name == "go":
            argv = [str(self.request.getfixturevalue("go_programs") / program), *args]
        else:
            modules = self.request.getfixturevalue("node_modules") / "node_modules"
            env["NODE_PATH"] = str(modules)
            argv = [str(modules / ".bin" / "node"), str(HERE / self.name / f"{program}.cjs"), *args]
            if self.name == "browser":
                argv.append(str(modules.parent / "package" / "dist" / "array.full.js"))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180, env={**os.environ, **env})
        assert done.returncode == 0 or not strict, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(params=["python", "node", "go", "browser"])
def sdk(request):
    return Sdk(request.param, request)
