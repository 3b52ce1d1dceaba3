"""What idle exports cost behind a million runs that have ended.

    TAILRACE_BIN=build/release/src/app/tailrace python3 bench/past_runs.py [--runs 1000000] [--exports 20]

Prints the part of a core that an idle server takes with so many exports of 5 seconds, and how long `GET /api/status/`
takes; the floor is the same server without past runs, in the same run of this program."""

import argparse
import pathlib
import sqlite3
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "test/lib"))
from harness import Server, file_destination  # noqa: E402


def fill(path, runs):
    """Completed runs of all exports, of 5 seconds each, every tenth with a row; none old enough to be folded."""
    db = sqlite3.connect(path)
    now = int(time.time()) * 1_000_000
    exports = [row[0] for row in db.execute("SELECT id FROM export")]
    each = runs // len(exports)
    with db:
        for export in exports:
            db.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)"
                " INSERT INTO run (id, export_id, project, lo, hi, state, on_delivered, generation, created_at,"
                " finished_at, not_before, stored, selected, delivered)"
                " SELECT randomblob(16), ?2, 1, ?3 - i * 5000000 - 5000000, ?3 - i * 5000000, 3, 0, 0,"
                " ?3 - i * 5000000, ?3 - i * 5000000, 0, i % 10 = 0, i % 10 = 0, i % 10 = 0 FROM n",
                (each, export, now))
    db.close()


def measure(server, seconds):
    time.sleep(5)
    before, began = server.cpu_seconds(), time.monotonic()
    time.sleep(seconds)
    share = (server.cpu_seconds() - before) / (time.monotonic() - began)
    took = []
    for _ in range(20):
        t = time.monotonic()
        server.api("GET", "/api/status/")
        took.append(time.monotonic() - t)
    return share, statistics.median(took)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--runs", type=int, default=1_000_000)
    args.add_argument("--exports", type=int, default=20)
    args.add_argument("--seconds", type=int, default=30)
    o = args.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        server = Server(folder / "data", ["--keep-quiet-runs", "365d"]).start()
        for i in range(o.exports):
            server.create_export(file_destination(folder / f"out{i}"))
        for what in ("none", o.runs):
            if what != "none":
                server.stop()
                fill(server.data / "meta.db", what)
                server.start()
            share, took = measure(server, o.seconds)
            print(f"past runs {what}: {share * 100:.2f} % of a core, status in {took * 1000:.1f} ms", flush=True)
        server.stop()


if __name__ == "__main__":
    main()
