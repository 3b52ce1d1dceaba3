"""Persons, sessions and groups while everything goes wrong: equal to what the reference makes of the raw events."""

import random
import time

import pytest
from harness import wait_for
from models import Crowd, Tables

SMALL = ["--segment-bytes", "256KiB", "--seal-bytes", "128KiB", "--dedup-events", "40000", "--chunk-rows", "20"]


@pytest.mark.parametrize("cache, commit", [("1MiB", "50ms"), ("40MiB", "10s")])
def test_killed_30_times(cache, commit, make_server, warehouse, tmp_path):
    server = make_server(*SMALL, "--state-cache", cache, "--state-commit", commit)
    tables = Tables(server, warehouse, tmp_path / "out")
    rng = random.Random(cache)
    with Crowd(server, 300) as crowd:
        for i in range(30):
            time.sleep(rng.uniform(0.05, 0.8))
            server.kill()
            server.start()
            if i % 5 == 4:
                crowd.delete()
    tables.settle()
    tables.check(crowd)
    assert len(crowd.sent()) > 1000


@pytest.mark.parametrize("point", ["derived.before_commit", "derived.committed", "pg.staged", "pg.before_commit",
                                   "pg.commit_sent", "pg.committed", "delivery.planned", "delivery.chunk_committed",
                                   "seal.before_commit", "seal.committed", "journal.synced"])
def test_killed_at(point, make_server, warehouse, tmp_path):
    server = make_server(*SMALL, "--state-commit", "500ms")
    tables = Tables(server, warehouse, tmp_path / "out")
    with Crowd(server, 500) as crowd:
        time.sleep(1)
        crowd.wait()
        server.stop()
        server.start(env={"TAILRACE_KILL_AT": f"{point}:3"})
        crowd.resume()
        wait_for(lambda: not server.alive(), 40, 0.02)
        server.died()
        server.start()
        crowd.delete()
        time.sleep(0.5)
    tables.settle()
    tables.check(crowd)
