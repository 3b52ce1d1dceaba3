"""Delivered ranges: whatever is changed about an export, nothing is doubled and nothing is left out."""

import collections
import threading
import time
import uuid

import pytest
from harness import file_destination, rows_in, wait_for

EXPORTS = "/api/projects/1/batch_exports/"


class Stream:
    """Sends an event every few milliseconds and remembers them."""

    def __init__(self, server):
        self.server, self.token, self.sent = server, server.capture_token(), []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def run(self):
        while not self.stopping.is_set():
            events = [{"event": ("kept", "noise")[i % 2], "distinct_id": "d", "uuid": str(uuid.uuid4())}
                      for i in range(4)]
            assert self.server.capture(events, token=self.token).status_code == 200
            self.sent += [e["uuid"] for e in events]
            time.sleep(0.02)


def now_of(server):
    return server.api("GET", "/api/status/")["now"]


def all_delivered_through(server, export, instant, seconds=60):
    """Waits until the schedule has delivered everything before an instant."""
    def look():
        mine = next(e for e in server.api("GET", "/api/status/")["exports"] if e["id"] == export["id"])
        assert mine["failed_runs"] == 0, server.runs(export, status="Failed")
        return mine["delivered_through"] >= instant
    wait_for(look, seconds, 0.3)


def ended(server, export, backfill, seconds=60):
    def look():
        b = server.api("GET", f"{EXPORTS}{export['id']}/backfills/{backfill['id']}/")
        return b if b["status"] in ("Completed", "Failed", "Cancelled") else None
    b = wait_for(look, seconds, 0.3)
    assert b["status"] == "Completed", (b, server.runs(export), server.log())
    return b


def once(found, sent):
    counts = collections.Counter(found)
    assert [u for u, n in counts.items() if n > 1] == []
    assert set(sent) - set(counts) == set()
    assert set(counts) - set(sent) == set()


@pytest.fixture(params=["Postgres", "File"])
def place(request, tmp_path):
    """(a destination, the uuids that are there)"""
    if request.param == "File":
        return file_destination(tmp_path / "out"), lambda: [r["uuid"] for r in rows_in(tmp_path / "out")]
    warehouse = request.getfixturevalue("warehouse")
    return warehouse.destination(), warehouse.uuids


@pytest.mark.threads
def test_a_backfill_across_the_seam(server, place):
    """Events before the export was made, while it runs, and a backfill over both: each once."""
    destination, found = place
    with Stream(server) as stream:
        time.sleep(3)
        export = server.create_export(destination)
        time.sleep(8)
        made = server.api("POST", f"{EXPORTS}{export['id']}/backfills/",
                          {"start_at": now_of(server)[:11] + "00:00:00Z", "end_at": now_of(server), "parallel": 3})
        ended(server, export, made)
        time.sleep(3)
    all_delivered_through(server, export, now_of(server))
    once(found(), stream.sent)
    assert server.cli("verify", "--export", export["id"], "--json")["ok"]


def test_changes_of_schedule_and_pauses_leave_no_gap(server, place):
    destination, found = place
    export = server.create_export(destination)
    path = f"{EXPORTS}{export['id']}/"
    with Stream(server) as stream:
        time.sleep(6)
        server.api("PATCH", path, {"interval": "every 10 seconds"})
        time.sleep(4)
        server.api("POST", path + "pause/")
        time.sleep(6)
        server.api("POST", path + "unpause/", {"backfill": True})
        server.api("PATCH", path, {"interval": "day", "timezone": "Europe/Berlin"})
        time.sleep(2)
        server.api("PATCH", path, {"interval": "every 5 seconds", "timezone": "UTC"})
        time.sleep(3)
    all_delivered_through(server, export, now_of(server))
    once(found(), stream.sent)
    report = server.cli("verify", "--export", export["id"], "--json")
    assert report["ok"], report


def test_another_table_is_another_target(server, warehouse):
    """A new place gets what comes from now on; a backfill brings the rest; the old one stays as it was."""
    with Stream(server) as stream:
        export = server.create_export(warehouse.destination())
        time.sleep(6)
        all_delivered_through(server, export, now_of(server))
        first = warehouse.uuids()
        server.api("PATCH", f"{EXPORTS}{export['id']}/", {"destination": {"config": {"table_name": "other"}}})
        time.sleep(4)
    all_delivered_through(server, export, now_of(server))
    made = server.api("POST", f"{EXPORTS}{export['id']}/backfills/",
                      {"start_at": now_of(server)[:11] + "00:00:00Z", "end_at": now_of(server)})
    ended(server, export, made)
    other = [r[0] for r in warehouse.query(f"SELECT uuid FROM {warehouse.schema}.other")]
    once(other, stream.sent)
    once(warehouse.uuids(), set(warehouse.uuids()))
    assert set(first) <= set(warehouse.uuids())


def test_a_changed_filter_holds_from_now_on(server, tmp_path):
    export = server.create_export(file_destination(tmp_path / "out"))
    with Stream(server) as stream:
        time.sleep(6)
        server.api("PATCH", f"{EXPORTS}{export['id']}/",
                   {"destination": {"config": {"exclude_events": ["noise"]}}})
        changed = len(stream.sent)
        time.sleep(8)
    all_delivered_through(server, export, now_of(server))
    got = collections.Counter(r["uuid"] for r in rows_in(tmp_path / "out"))
    assert [u for u, n in got.items() if n > 1] == []
    late = stream.sent[changed + 4:]  # the four may have been on their way
    noise = {u for i, u in enumerate(stream.sent) if i % 2 == 1}
    assert not set(late) & noise & set(got)
    assert set(stream.sent) - noise <= set(got)
    assert server.cli("verify", "--export", export["id"], "--json")["ok"]


def test_replace_and_append(server, warehouse):
    ids = [str(uuid.uuid4()) for _ in range(30)]
    assert server.capture([{"event": "e", "distinct_id": "d", "uuid": i} for i in ids]).status_code == 200
    export = server.create_export(warehouse.destination(), interval="hour")
    body = {"start_at": now_of(server)[:11] + "00:00:00Z", "end_at": now_of(server)}
    path = f"{EXPORTS}{export['id']}/backfills/"
    assert ended(server, export, server.api("POST", path, body))["progress"]["rows_done"] == 30
    once(warehouse.uuids(), ids)
    warehouse.admin.execute(f"UPDATE {warehouse.schema}.events SET event = 'spoilt'")
    ended(server, export, server.api("POST", path, {**body, "on_delivered": "replace"}))
    once(warehouse.uuids(), ids)
    assert warehouse.query("SELECT DISTINCT event FROM EVENTS") == [("e",)]
    ended(server, export, server.api("POST", path, {**body, "on_delivered": "append"}))
    assert sorted(warehouse.uuids()) == sorted(ids * 2)


def test_a_row_that_went_missing_is_named_by_its_interval(server, warehouse):
    export = server.create_export(warehouse.destination())
    with Stream(server) as stream:
        time.sleep(12)
    all_delivered_through(server, export, now_of(server))
    on = ("--export", export["id"], "--recount", "--json")
    good = server.cli("verify", *on)
    assert good["ok"] and good["found_there"] == good["expected_there"] == len(stream.sent)

    lost = stream.sent[len(stream.sent) // 2]
    warehouse.admin.execute(f"DELETE FROM {warehouse.schema}.events WHERE uuid = %s", [lost])
    bad = server.cli("verify", *on, expect=1)
    wrong = [v for v in bad["results"] if not v["ok"]]
    assert [v["verdict"] for v in wrong] == ["lost_at_target"]
    assert wrong[0]["expected_there"] - wrong[0]["found_there"] == 1

    again = stream.sent[3]
    warehouse.admin.execute(f"INSERT INTO {warehouse.schema}.events SELECT * FROM {warehouse.schema}.events WHERE uuid = %s",
                            [again])
    bad = server.cli("verify", *on, expect=1)
    assert {v["verdict"] for v in bad["results"] if not v["ok"]} == {"lost_at_target", "copies_at_target"}
    assert server.cli("verify", "--export", export["id"], "--json")["ok"]  # the accounts themselves balance


def test_nothing_past_the_bounds(server, tmp_path):
    now = now_of(server)
    export = server.create_export(file_destination(tmp_path / "out"), start_at="2020-01-01T00:00:00Z", end_at=now)
    with Stream(server):
        time.sleep(8)
    made = server.api("POST", f"{EXPORTS}{export['id']}/backfills/",
                      {"start_at": now[:11] + "00:00:00Z", "end_at": now_of(server)})
    assert made["end_at"] == now
    ended(server, export, made)
    assert rows_in(tmp_path / "out") == []
    for run in server.runs(export):
        assert run["data_interval_end"] <= now


def test_missed_intervals_are_caught_up_in_few_runs(server, warehouse):
    export = server.create_export(warehouse.destination())
    with Stream(server) as stream:
        time.sleep(6)
    server.kill()
    time.sleep(21)  # four intervals
    server.start()
    all_delivered_through(server, export, now_of(server))
    once(warehouse.uuids(), stream.sent)
    assert len(server.runs(export)) <= 6, [(r["data_interval_start"], r["data_interval_end"]) for r in server.runs(export)]
    assert server.cli("verify", "--export", export["id"], "--json")["ok"]


def test_what_a_pause_left_out_is_named_and_a_backfill_mends_it(server, tmp_path):
    export = server.create_export(file_destination(tmp_path / "out"))
    path = f"{EXPORTS}{export['id']}/"
    server.api("POST", path + "pause/")
    ids = [str(uuid.uuid4()) for _ in range(10)]
    assert server.capture([{"event": "e", "distinct_id": "d", "uuid": i} for i in ids]).status_code == 200
    time.sleep(6)
    server.api("POST", path + "unpause/")
    all_delivered_through(server, export, now_of(server))
    assert rows_in(tmp_path / "out") == []
    report = server.cli("verify", "--export", export["id"], "--json", expect=1)
    missing = [v for v in report["results"] if v["verdict"] == "missing"]
    assert sum(v["stored"] for v in missing) == 10, report
    made = server.api("POST", path + "backfills/", {"start_at": missing[0]["data_interval_start"],
                                                    "end_at": missing[-1]["data_interval_end"]})
    ended(server, export, made)
    once([r["uuid"] for r in rows_in(tmp_path / "out")], ids)
    assert server.cli("verify", "--export", export["id"], "--json")["ok"]
