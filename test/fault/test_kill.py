"""kill -9, at random instants and at every named point: the table holds each acknowledged event once."""

import pathlib
import random
import time

import pytest
from harness import file_destination, rows_in, wait_for
from workload import Load, make_event, must_be_once

# Passed only by rows that change: test_models.py kills there.
MUTABLE = {"pg.staged"}
# What is passed on the way to PostgreSQL and to files; BigQuery has files of its own.
POINTS = sorted(p for p in (pathlib.Path(__file__).parent / "kill_points.txt").read_text().split()
                if p not in MUTABLE and not p.startswith("bq."))
# Small limits, so that a short test rotates, seals, flushes and merges.
SMALL = ["--segment-bytes", "256KiB", "--seal-bytes", "128KiB", "--dedup-events", "40000", "--chunk-rows", "300"]


def settle(server, destinations, wanted):
    """Waits until what was acknowledged has arrived everywhere."""
    for found in destinations:
        wait_for(lambda found=found: wanted <= set(found()), 60, 0.5)
    # An interval that closed meanwhile must not bring copies.
    time.sleep(6)


def test_killed_50_times_under_load(make_server, warehouse):
    server = make_server(*SMALL)
    server.create_export(warehouse.destination())
    rng = random.Random(50)
    with Load(server) as load:
        for _ in range(50):
            time.sleep(rng.uniform(0.05, 0.7))
            server.kill()
            server.start()
    settle(server, [warehouse.uuids], load.acknowledged)
    must_be_once(warehouse.uuids(), load.acknowledged, load.sent)
    assert len(load.acknowledged) > 1000


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 3])
def test_killed_at(point, nth, make_server, warehouse, tmp_path):
    # Starting passes the points of metadata some times: these are to be met in the middle of runs.
    passes = nth * 17 if point.startswith("meta.") else nth
    server = make_server(*SMALL)
    files = tmp_path / "out"
    server.create_export(warehouse.destination())
    server.create_export(file_destination(files))
    server.stop()

    server.start(env={"TAILRACE_KILL_AT": f"{point}:{passes}"})
    with Load(server, threads=3, batch=40) as load:
        try:
            wait_for(lambda: not server.alive(), 40, 0.02)
        except AssertionError:
            pytest.fail(f"{point} was not passed {passes} times")
        server.died()
        server.start()
        time.sleep(0.5)
    in_files = lambda: [row["uuid"] for row in rows_in(files)]  # noqa: E731
    settle(server, [warehouse.uuids, in_files], load.acknowledged)
    must_be_once(warehouse.uuids(), load.acknowledged, load.sent)
    must_be_once(in_files(), load.acknowledged, load.sent)


def test_killed_with_small_traffic_then_idle(make_server, warehouse):
    """One event, killed after the 200: it is there after the restart, although nothing follows it."""
    server = make_server()
    server.create_export(warehouse.destination())
    event = make_event(1)
    assert server.capture([event]).status_code == 200
    server.kill()
    server.start()
    wait_for(lambda: warehouse.uuids() == [event["uuid"]], 30, 0.3)
