"""What a release left behind goes on under the binary of today: nothing is lost, nothing is sent again.

The fixtures are made by `test/fixture/make.py` with the release's own binary, when it is cut.
"""

import contextlib
import json
import pathlib
import time
import uuid

import fixture
import psycopg
import pytest
from harness import Server, rows_in, wait_for
from targets import CONFIGURATIONS, google_key, with_key

RELEASES = sorted(p.parent for p in (pathlib.Path(__file__).parent.parent / "fixture").glob("*/told.json"))
EXPORTS = "/api/projects/1/batch_exports/"


class Installation:
    """A release's installation, as it was when it was killed."""

    def __init__(self, release, conninfo, tmp_path):
        self.told = json.loads((release / "told.json").read_text())
        self.release, self.conninfo = release, conninfo
        self.fake = fixture.fake_at_home()
        fixture.unpack(release / "data.tar.xz", tmp_path / "data")
        fixture.unpack(release / "files.tar.xz", fixture.FILES)
        fixture.restore_postgres(conninfo, release / "postgres.sql.xz")
        fixture.restore_bigquery(self.fake, release / "bigquery.json.xz")
        self.fake.start()
        self.server = Server(tmp_path / "data", ["--allow-hosts", self.fake.host, "--iam-hosts", self.fake.host])

    def rows(self):
        """Every row at every destination."""
        return {**{f"postgres {k}": v for k, v in fixture.rows_of_postgres(self.conninfo).items()},
                **{f"bigquery {k}": v for k, v in fixture.rows_of_bigquery(self.fake).items()},
                **{f"file {folder.name}": sorted(json.dumps(r, sort_keys=True) for r in rows_in(folder))
                   for folder in fixture.FILES.iterdir()}}

    def stop(self):
        if self.server.alive():
            self.server.kill()
        self.fake.stop()
        with psycopg.connect(self.conninfo, autocommit=True) as admin:
            fixture.drop_schema(admin)


@pytest.fixture(params=RELEASES, ids=lambda p: p.name)
def installation(request, pg_conninfo, tmp_path):
    with contextlib.ExitStack() as stack:
        stack.enter_context(fixture.Alone())
        it = Installation(request.param, pg_conninfo, tmp_path)
        stack.callback(it.stop)
        stack.enter_context(fixture.Forwarder(fixture.POSTGRES_PORT, fixture.upstream(pg_conninfo)))
        yield it


def included(now, then):
    """now, if it says all that then said: objects may have grown, answers may tell more."""
    if isinstance(then, dict):
        return isinstance(now, dict) and all(k in now and included(now[k], v) for k, v in then.items())
    return now == then


# Of an export, what moves by itself.
MOVING = {"latest_runs", "next_run_at", "last_updated_at", "status", "last_run", "behind", "health", "lag"}


def test_an_installation_goes_on(installation):
    server, told = installation.server, installation.told
    before = installation.rows()
    assert sum(map(len, before.values())) > 300
    server.start()
    assert server.owner_token == told["owner_token"] and server.capture_token() == told["capture_token"]

    for then in told["exports"]:
        now = server.api("GET", f"{EXPORTS}{then['id']}/")
        assert included(now, {k: v for k, v in then.items() if k not in MOVING}), (then, now)
    began = time.time()
    wait_for(lambda: all_level(server, told, began), 120, 0.5)
    assert installation.rows() == before, "rows were sent again, or changed"
    for export in told["exports"]:
        fixture.must_balance(server, export)

    # What an SDK sends again is recognised; what is new arrives at every place, once.
    assert server.capture(told["sent"][:30]).status_code == 200
    fresh = [{"event": "signed up", "distinct_id": "visitor-first-3", "uuid": str(uuid.uuid4()),
              "properties": {"$session_id": "session-today", "$set": {"plan": "gold"}}} for _ in range(20)]
    assert server.capture(fresh).status_code == 200
    server.stop()
    server.start()
    running = [e for e in told["exports"] if not e["paused"]]
    server.api("POST", f"{EXPORTS}{by_name(told, 'file paused')['id']}/unpause/", {"backfill": True})
    for export in running:
        if export["interval"] not in ("every 5 seconds", "realtime"):
            done = server.backfilled(export, server.backfill(export))
            assert done["status"] == "Completed", (export["name"], done)
    must_hold_once(installation, told["sent"], fresh)
    for name, rows in before.items():
        if not name.endswith(("persons", "groups", "sessions")):
            assert set(rows) <= set(installation.rows()[name]), f"{name}: rows of before changed"
    for export in running:
        fixture.must_balance(server, export)


def by_name(told, name):
    return next(e for e in told["exports"] if e["name"] == name)


def all_level(server, told, began):
    """Every five-second export has caught up, however long ago the release was cut."""
    through = {e["id"]: e["delivered_through"] for e in server.api("GET", "/api/status/")["exports"]}
    quick = [e["id"] for e in told["exports"] if e["interval"] == "every 5 seconds"]
    return all(fixture.instant(through[i][:19] + "Z") >= began - 1 for i in quick)


def must_hold_once(installation, sent, fresh):
    all_of_them = sorted(e["uuid"] for e in sent + fresh)
    signups = sorted(e["uuid"] for e in sent + fresh if e["event"] == "signed up")
    streamed = sorted(e["uuid"] for e in sent + fresh if e["event"] != "$autocapture")
    wanted = {"postgres events": all_of_them, "bigquery events": all_of_them, "file events": all_of_them,
              "file signups": signups, "bigquery stream": streamed}

    def there():
        rows = installation.rows()
        found = {name: sorted(json.loads(r)["uuid"] for r in rows[name]) for name in wanted}
        return found if all(len(found[n]) >= len(wanted[n]) for n in wanted) else None
    assert wait_for(there, 60) == wanted
    for name in ("postgres persons", "bigquery persons"):
        def plan(name=name):
            return [json.loads(r) for r in installation.rows()[name] if "visitor-first-3" in r and "gold" in r]
        assert wait_for(plan, 60)


def test_no_target_text_ever_changes(make_server, tmp_path):
    """What was delivered is known by (export, target text): another text would send everything again."""
    server = make_server("--allow-hosts", f"127.0.0.1:{fixture.BIGQUERY_PORT}", "--iam-hosts",
                         f"127.0.0.1:{fixture.BIGQUERY_PORT}")
    key = google_key()
    known = [c for release in RELEASES for c in json.loads((release / "targets.json").read_text())]
    assert len(known) >= 50 and len(CONFIGURATIONS) >= len(known) / len(RELEASES)
    wrong = []
    for it in known:
        made = server.create_export(with_key(it, key), model=it.get("model", "events"),
                                    interval=it.get("interval", "hour"), paused=True)
        if made["target"] != it["target"]:
            wrong.append((it["destination"], it["target"], made["target"]))
        server.api("DELETE", f"{EXPORTS}{made['id']}/")
    assert not wrong

