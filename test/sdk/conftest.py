"""Real SDKs, installed outside the tree, and what they say they sent."""

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
    """A folder made once for the bytes of source; make(folder) fills it."""
    key = hashlib.sha256(source).hexdigest()[:12]
    folder = CACHE / f"{name}-{key}"
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
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
def go_sender():
    source = b"".join((HERE / "go" / name).read_bytes() for name in ("go.mod", "go.sum", "main.go"))

    def make(folder):
        must(["go", "build", "-o", str(folder / "send"), "."], HERE / "go")

    return cached("go", source, make) / "send"


def node_binary(node_modules):
    return str(node_modules / "node_modules" / ".bin" / "node")


@pytest.fixture(params=["python", "node", "go", "browser"])
def sdk(request):
    """send(host, token, count) runs one real SDK and returns what it was told to send."""
    name = request.param

    def send(host, token, count, wait_ms=1500, strict=True):
        env = {**os.environ, "WAIT_MS": str(wait_ms)}
        if strict:
            env["EXPECT_NO_ERRORS"] = "1"
        if name == "python":
            argv = [sys.executable, str(HERE / "python" / "send.py"), host, token, str(count)]
        elif name == "go":
            argv = [str(request.getfixturevalue("go_sender")), host, token, str(count)]
        else:
            modules = request.getfixturevalue("node_modules")
            env["NODE_PATH"] = str(modules / "node_modules")
            argv = [node_binary(modules), str(HERE / name / "send.cjs"), host, token, str(count)]
            if name == "browser":
                argv.append(str(modules / "package" / "dist" / "array.full.js"))
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180, env=env)
        assert done.returncode == 0 or not strict, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    send.name = name
    return send
