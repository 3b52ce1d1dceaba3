"""Tables that are updated: intervals in any order, again, at once and interrupted, while people go on changing, end as
the reference's recomputation from the raw events."""

import random
import time

import psycopg
import pytest
from harness import wait_for
from models import EXPORTS, Crowd, Tables, iso, micros
from pg_proxy import PgProxy

OPTIONS = ["--chunk-rows", "15", "--workers", "6", "--state-commit", "200ms", "--state-cache", "1MiB"]
OPEN = ("Starting", "Running")


def now_of(server):
    return server.api("GET", "/api/status/")["now"]


def a_backfill(server, export, start, end, rng):
    return server.api("POST", f"{EXPORTS}{export['id']}/backfills/", {
        "start_at": iso(start), "end_at": iso(end), "parallel": rng.randint(1, 4),
        "on_delivered": rng.choice(["skip", "replace"])})


def backfills(server, export):
    return server.api("GET", f"{EXPORTS}{export['id']}/backfills/", params={"limit": 200})["results"]


def retry_all(server, export):
    for status in ("Failed", "Cancelled"):
        for run in server.runs(export, status=status, limit=200):
            server.api("POST", f"{EXPORTS}{export['id']}/runs/{run['id']}/retry/", {})


def quiet(server, exports):
    """Everything that was asked for has been done; what was cancelled is taken up again."""
    def look():
        for export in exports:
            retry_all(server, export)
        return not any(server.runs(e, status=s) for e in exports for s in OPEN) and not any(
            b["status"] in OPEN for e in exports for b in backfills(server, e))
    wait_for(look, 180, 0.5)


@pytest.mark.parametrize("seed", [1, 2])
def test_intervals_in_any_order(seed, make_server, warehouse, pg_conninfo, tmp_path):
    """The schedule has its day off: random pieces of the past, most of them several times, four at once, some of them
    overtaken by later ones while they are on their way."""
    server = make_server(*OPTIONS)
    rng = random.Random(seed)
    with PgProxy(pg_conninfo) as proxy:
        any_order(server, rng, proxy, Tables(server, warehouse, tmp_path / "out", port=proxy.port),
                  Crowd(server, 700 + seed))


def any_order(server, rng, proxy, tables, crowd):
    for export in tables.models.values():
        server.api("PATCH", f"{EXPORTS}{export['id']}/", {"interval": "day"})
    start = micros(now_of(server)) - 1_000_000
    with crowd:
        for i in range(12):
            time.sleep(1)
            now = micros(now_of(server))
            proxy.stall_upserts += 1
            for export in tables.models.values():
                a, b = sorted(rng.sample(range(start, now), 2))
                a_backfill(server, export, a, b, rng)
            if i % 4 == 3:
                crowd.delete()
    end = micros(now_of(server))
    pieces = sorted(rng.sample(range(start, end), 6))
    pieces = list(zip([start, *pieces], [*pieces, end])) * 2
    rng.shuffle(pieces)
    for a, b in pieces:
        for export in tables.models.values():
            a_backfill(server, export, a, b, rng)
    quiet(server, tables.models.values())
    tables.exports = tables.exports[:1]
    tables.settle()
    tables.check(crowd)


def test_cuts_retries_and_cancellations(make_server, warehouse, pg_conninfo, tmp_path):
    server = make_server(*OPTIONS)
    rng = random.Random(9)
    with PgProxy(pg_conninfo) as proxy:
        tables = Tables(server, warehouse, tmp_path / "out", port=proxy.port)
        exports = list(tables.models.values())
        start = micros(now_of(server)) - 1_000_000
        with Crowd(server, 900) as crowd:
            for i in range(60):
                time.sleep(0.5)
                disturb(rng, server, exports, proxy, warehouse, start)
                if i % 10 == 9:
                    crowd.delete()
        proxy.lose_commit_answers, proxy.cut_at_commit, proxy.stall_upserts = proxy.lost, proxy.cut, proxy.stalled
        quiet(server, exports)
        tables.settle()
        quiet(server, exports)
        tables.check(crowd)
        assert proxy.lost + proxy.cut > 5


def disturb(rng, server, exports, proxy, warehouse, start):
    export = rng.choice(exports)
    what = rng.randrange(8)
    if what == 0:
        proxy.lose_commit_answers += 1
    elif what == 1:
        proxy.cut_at_commit += 1
    elif what in (2, 3):
        proxy.stall_upserts += 1
    elif what == 4:
        a, b = sorted(rng.sample(range(start, micros(now_of(server))), 2))
        a_backfill(server, export, a, b, rng)
    elif what == 5:
        for run in server.runs(export, status="Running")[:1]:
            server.api("POST", f"{EXPORTS}{export['id']}/runs/{run['id']}/cancel/", expect=None if run else 0)
    elif what == 6:
        retry_all(server, export)
    else:
        terminate(warehouse, rng)


def terminate(warehouse, rng):
    """One of the program's own connections, by the server's hand."""
    pids = [row[0] for row in warehouse.admin.execute(
        "SELECT pid FROM pg_stat_activity WHERE usename = %s", [warehouse.user]).fetchall()]
    if pids:
        try:
            warehouse.admin.execute("SELECT pg_terminate_backend(%s)", [rng.choice(pids)])
        except psycopg.Error:
            pass


def test_an_older_state_that_arrives_later_changes_nothing(server, warehouse, pg_conninfo):
    """Its run has read the row and copied it to the stage when the row changes and the next interval's run passes it."""
    query = "SELECT properties - '$creator_event_uuid', person_version FROM EVENTS"
    with PgProxy(pg_conninfo) as slow:
        late = server.create_export(warehouse.destination(port=slow.port), model="persons", name="late")
        first = {"event": "x", "distinct_id": "a", "properties": {"$set": {"n": 1}}}
        slow.stall_upserts, slow.stall_seconds = 1, 12
        assert server.capture([first]).status_code == 200
        wait_for(lambda: slow.stalled == 1)
        assert server.capture([{**first, "properties": {"$set": {"n": 2}}}]).status_code == 200
        server.create_export(warehouse.destination(), model="persons", name="quick")
        made = server.api("GET", EXPORTS)["results"]
        quick = next(e for e in made if e["name"] == "quick")
        rows = wait_for(lambda: warehouse.exists() and warehouse.query(query))
        assert rows == [({"n": 2}, 1)] and not server.runs(late, status="Completed")
        wait_for(lambda: server.runs(late, status="Completed"), 60)
        assert warehouse.query(query) == [({"n": 2}, 1)]
        assert server.runs(quick, status="Completed")
