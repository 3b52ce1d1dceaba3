"""Runs every suite, shows each as it goes, and ends with one line of totals.

A suite is a name, what it needs and a function that returns (passed, failed, skipped, seconds).
Everything a suite needs is started here and stopped here, by its process id.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET

TOP = pathlib.Path(__file__).resolve().parent.parent
VENV = pathlib.Path(os.environ.get("VENV", sys.prefix))
SANITIZERS = {
    "ASAN_OPTIONS": "detect_leaks=1:abort_on_error=0:exitcode=66",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1:exitcode=66",
    "TSAN_OPTIONS": f"exitcode=66:second_deadlock_stack=1:suppressions={TOP}/test/tsan.supp",
    "LSAN_OPTIONS": f"suppressions={TOP}/test/lsan.supp:print_suppressions=0",
}
BUILDS = {
    "dev": ["-Db_sanitize=address,undefined", "-Db_lundef=false"],
    "tsan": ["-Db_sanitize=thread", "-Db_lundef=false"],
    "release": ["--buildtype=release", "-Dtests=false"],
}


def run(argv, log, env=None, timeout=1800):
    """Runs a command with its output in a file; returns its exit status."""
    with open(log, "wb") as out:
        try:
            return subprocess.run(
                argv, cwd=TOP, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                env={**os.environ, **SANITIZERS, **(env or {})}, timeout=timeout).returncode
        except subprocess.TimeoutExpired:
            out.write(f"\nstopped after {timeout} s\n".encode())
            return 124


def tail(log, lines=60):
    text = pathlib.Path(log).read_text(errors="replace").splitlines()
    print("\n".join("    " + line for line in text[-lines:]), flush=True)


def build(name):
    """Configures once, compiles always. A build that fails is the end."""
    folder = TOP / "build" / name
    log = TOP / "build" / f"{name}.log"
    folder.parent.mkdir(exist_ok=True)
    if not (folder / "build.ninja").exists():
        if run(["meson", "setup", str(folder), *BUILDS[name]], log) != 0:
            tail(log)
            sys.exit(f"build {name}: meson setup failed")
    began = time.monotonic()
    if run(["ninja", "-C", str(folder)], log) != 0:
        tail(log)
        sys.exit(f"build {name} failed")
    print(f"built {name} in {time.monotonic() - began:.0f} s", flush=True)
    return folder


def binary(name):
    return str(TOP / "build" / name / "src" / "app" / "tailrace")


def count_junit(path):
    """Totals of a JUnit file, and the names of what failed or was skipped."""
    passed = failed = skipped = 0
    bad, left_out = [], []
    for case in ET.parse(path).getroot().iter("testcase"):
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
            bad.append(name)
        elif case.find("skipped") is not None:
            skipped += 1
            reason = case.find("skipped").get("message") or ""
            left_out.append(f"{name}: {reason}")
        else:
            passed += 1
    return passed, failed, skipped, bad, left_out


def report(suite, status, log, junit, began):
    seconds = time.monotonic() - began
    if not pathlib.Path(junit).exists():
        print(f"{suite}: no result (exit status {status})", flush=True)
        tail(log)
        return 0, 1, 0
    passed, failed, skipped, bad, left_out = count_junit(junit)
    if status not in (0,) and failed == 0:
        failed += 1
        bad.append(f"exit status {status}")
    print(f"{suite}: {passed} passed, {failed} failed, {skipped} skipped in {seconds:.0f} s", flush=True)
    for name in left_out:
        print(f"    skipped {name}")
    for name in bad:
        print(f"    FAILED {name}")
    if failed:
        tail(log, 150)
    return passed, failed, skipped


def meson_suite(title, folder, *suites, timeout_factor=1, env=None):
    def go(where):
        began = time.monotonic()
        log = where / f"{title}.log"
        argv = ["meson", "test", "-C", str(folder()), "--no-rebuild", "--print-errorlogs",
                "--num-processes", "2", "--timeout-multiplier", str(timeout_factor)]
        for suite in suites:
            argv += ["--suite", suite]
        junit = folder() / "meson-logs" / "testlog.junit.xml"
        junit.unlink(missing_ok=True)
        status = run(argv, log, env() if env else None)
        return report(title, status, log, junit, began)
    return go


def pytest_suite(title, *args, env=None, timeout=1500, at_once=3):
    def go(where):
        began = time.monotonic()
        log, junit = where / f"{title}.log", where / f"{title}.xml"
        # Most of these tests wait for an interval to end: several at once cost little.
        argv = [str(VENV / "bin" / "python"), "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
                "-n", str(at_once), f"--junitxml={junit}", *args]
        status = run(argv, log, env() if env else None, timeout)
        return report(title, status, log, junit, began)
    return go


def lint(where):
    """Checks of the source itself; each check is one test."""
    passed = failed = 0
    for check in sorted((TOP / "test" / "lint").iterdir()):
        if check.suffix not in (".py", ".sh"):
            continue
        log = where / f"lint-{check.stem}.log"
        argv = [sys.executable, str(check)] if check.suffix == ".py" else ["bash", str(check)]
        if run(argv, log, {"TAILRACE_BIN": binary("dev")}) == 0:
            passed += 1
        else:
            failed += 1
            print(f"    FAILED lint {check.name}")
            tail(log)
    print(f"lint: {passed} passed, {failed} failed", flush=True)
    return passed, failed, 0


class Postgres:
    """A scratch server for the suites that need one, in a temporary folder, on a free port."""

    def __init__(self):
        self.env = {}
        self.folder = None

    def start(self):
        if self.folder:
            return self.env
        self.folder = tempfile.mkdtemp(prefix="tailrace-pg-")
        os.chmod(self.folder, 0o755)
        done = subprocess.run(["bash", str(TOP / "test/lib/pg.sh"), "start", self.folder],
                              stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        if done.returncode != 0:
            sys.exit("PostgreSQL did not start")
        self.env = {"TR_TEST_PG": done.stdout.strip().splitlines()[-1]}
        return self.env

    def stop(self):
        if self.folder:
            subprocess.run(["bash", str(TOP / "test/lib/pg.sh"), "stop", self.folder],
                           stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=False)
            subprocess.run(["rm", "-rf", self.folder], check=False)


class StandIn:
    """A stand-in for BigQuery in a process of its own: prints where it is, ends when its input does."""

    def __init__(self, script, variable):
        self.script, self.variable = script, variable
        self.process = self.folder = None

    def start(self):
        if not self.process:
            self.folder = tempfile.mkdtemp(prefix="tailrace-bq-")
            self.process = subprocess.Popen(
                [str(VENV / "bin" / "python"), str(TOP / "test/lib" / self.script), self.folder],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self.where = self.process.stdout.readline().strip()
            if not self.where:
                sys.exit(f"{self.script} did not start")
        return {self.variable: self.where, "VENV": str(VENV)}

    def stop(self):
        if self.process:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            subprocess.run(["rm", "-rf", self.folder], check=False)


def main():
    parser = argparse.ArgumentParser(description="Runs the test suites.")
    parser.add_argument("suites", nargs="*", help="only these")
    parser.add_argument("--list", action="store_true", help="name the suites")
    options = parser.parse_args()

    built = {}
    postgres = Postgres()
    bigquery = StandIn("bq_proxy.py", "TR_TEST_BQ")
    bigquery_fake = StandIn("bq_fake.py", "TR_TEST_BQ_FAKE")

    def peers():
        return {**postgres.start(), **bigquery.start(), **bigquery_fake.start()}

    def folder(name):
        def get():
            if name not in built:
                built[name] = build(name)
            return built[name]
        return get

    def with_binary(name):
        def get():
            folder(name)()
            return {"TAILRACE_BIN": binary(name), "TAILRACE_BUILD": name, **postgres.start()}
        return get

    suites = {
        "lint": lambda where: (folder("dev")(), lint(where))[1],
        "unit": meson_suite("unit", folder("dev"), "unit"),
        "fuzz": meson_suite("fuzz", folder("dev"), "fuzz"),
        "model": pytest_suite("model", "test/model", env=lambda: {"TAILRACE_BUILD": folder("dev")().name}),
        "peer": meson_suite("peer", folder("dev"), "peer", env=peers),
        "unit-tsan": meson_suite("unit-tsan", folder("tsan"), "threads", timeout_factor=4),
        "e2e": pytest_suite("e2e", "test/e2e", env=with_binary("dev")),
        "e2e-tsan": pytest_suite("e2e-tsan", "test/e2e", "-m", "threads", env=with_binary("tsan")),
        "sdk": pytest_suite("sdk", "test/sdk", env=with_binary("dev"), at_once=2),
        "fault": pytest_suite("fault", "test/fault", env=with_binary("release"), at_once=4),
    }
    # Only when asked for by name: what they need takes half an hour to build.
    extra = {
        "sql": pytest_suite("sql", "test/peer/bigquery/test_sql.py", at_once=0,
                            env=lambda: {"TAILRACE_BUILD": folder("dev")().name}),
    }
    if options.list:
        print("\n".join([*suites, *(f"{name} (only when named)" for name in extra)]))
        return 0
    suites.update((name, extra[name]) for name in options.suites if name in extra)
    unknown = set(options.suites) - set(suites)
    if unknown:
        print(f"no such suite: {', '.join(sorted(unknown))}; script/test --list names them", file=sys.stderr)
        return 2

    total = [0, 0, 0]
    with tempfile.TemporaryDirectory(prefix="tailrace-test-") as where:
        try:
            for name, suite in suites.items():
                if options.suites and name not in options.suites:
                    continue
                for i, n in enumerate(suite(pathlib.Path(where))):
                    total[i] += n
        finally:
            for peer in (postgres, bigquery, bigquery_fake):
                peer.stop()
    if os.environ.get("CI") and total[2]:
        print(f"{total[2]} tests were skipped although everything they need is installed here")
        total[1] += total[2]
        total[2] = 0
    print(f"{total[0]} passed, {total[1]} failed" + (f", {total[2]} skipped" if total[2] else ""))
    return 0 if total[1] == 0 and total[0] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
