"""What can happen to BigQuery and the way to it: every lost answer, every kill, each row once."""

import base64
import collections
import json
import os
import pathlib
import time
import uuid

import pytest
from harness import wait_for
from workload import must_be_once

POINTS = [p for p in (pathlib.Path(__file__).parent / "kill_points.txt").read_text().split()
          if p.startswith("bq.") and not p.startswith("bq.stream_")]  # test_bigquery_live_faults.py
STAMP = "2026-11-20T12:00:00Z"


def event(n=0, size=0, **more):
    text = base64.b64encode(os.urandom(size)).decode() if size else ""
    return {"event": f"event {n % 5}", "distinct_id": f"user-{n % 7}", "uuid": str(uuid.uuid4()), "timestamp": STAMP,
            "properties": {"n": n, "text": text}, **more}


def send(server, events):
    for i in range(0, len(events), 20):
        assert server.capture(events[i:i + 20]).status_code == 200
    return {e["uuid"] for e in events}


def large(n=40):
    """More than two pieces of an upload, however well they are squeezed."""
    return [event(i, 700_000) for i in range(n)]


def export_to(server, bigquery, **more):
    """Paused: at the turn of an hour its schedule would make a run beside the backfill's."""
    config = more.pop("config", {})
    return server.create_export(bigquery.destination(**config), interval="hour", paused=True, **more)


def delivered(server, export, backfill, seconds=90):
    ended = server.backfilled(export, backfill, seconds)
    assert ended["status"] == "Completed", [r["latest_error"] for r in server.runs(export)]
    return server.runs(export)


@pytest.fixture
def server(make_server, bigquery):
    it = make_server(*bigquery.args, "--chunk-rows", "300")
    yield it
    assert it.stop() == 0, it.log()


# ---- answers that are lost, requests that fail ----

# Every kind of request that a load makes.
REQUESTS = ["POST /token", "GET .*/datasets/exports$", "GET .*/tables/events$", "POST .*/tables$", "GET .*/jobs/",
            "POST /upload/", "PUT /upload/"]


@pytest.mark.parametrize("request_", REQUESTS)
@pytest.mark.parametrize("do", ["lose", "drop", "lose_error", "error"])
def test_a_load_whose_answers_are_lost(server, bigquery, request_, do):
    bigquery.fake.hidden_jobs = do in ("lose", "error")
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(700)])
    fault = bigquery.fake.fault(request_, do=do, status=503, times=2)
    runs = delivered(server, export, server.backfill(export))
    assert fault["met"] >= 1, "the fault was not met"
    must_be_once(bigquery.uuids(), ids, ids)
    assert sum(r["records_completed"] for r in runs) == 700


MERGE_REQUESTS = ["POST .*/tables$", "POST /upload/", "PUT /upload/", "GET .*/jobs/", "POST .*/jobs$",
                  "DELETE .*/tables/tailrace_stage"]


def persons(bigquery):
    rows = bigquery.rows()
    found = {r["distinct_id"]: json.loads(r["properties"]).get("n") for r in rows}
    assert len(found) == len(rows), "a person twice"
    return found


def send_persons(server, of=5, n=1):
    events = [event(distinct_id=f"p{i}", properties={"$set": {"n": n}}) for i in range(of)]
    send(server, events)


@pytest.mark.parametrize("request_", MERGE_REQUESTS)
@pytest.mark.parametrize("do", ["lose", "drop", "lose_error"])
def test_a_merge_whose_answers_are_lost(server, bigquery, request_, do):
    export = export_to(server, bigquery, model="persons")
    send_persons(server)
    fault = bigquery.fake.fault(request_, do=do, status=502, times=2)
    delivered(server, export, server.backfill(export))
    assert fault["met"] >= 1, "the fault was not met"
    assert persons(bigquery) == {f"p{i}": 1 for i in range(5)}
    send_persons(server, n=2)
    delivered(server, export, server.backfill(export))
    assert persons(bigquery) == {f"p{i}": 2 for i in range(5)}


# ---- uploads ----

@pytest.mark.parametrize("status", [308, 503, 0])
@pytest.mark.parametrize("taken", [0, 262144, 5 * 262144])
def test_an_upload_is_picked_up_where_it_was_cut(server, bigquery, status, taken):
    """A piece of which only a part arrived: told by 308, by an error, by nothing at all."""
    export = export_to(server, bigquery)
    ids = send(server, large())
    fault = bigquery.fake.fault("PUT /upload/", do="cut", bytes=taken, status=status, times=2, skip=1)
    runs = delivered(server, export, server.backfill(export))
    assert fault["met"] == 3
    must_be_once(bigquery.uuids(), ids, ids)
    assert len(bigquery.fake.jobs_of("load")) == 1, "the upload was begun again"
    assert runs[0]["records_completed"] == len(ids)


def test_an_upload_whose_session_is_forgotten_begins_again(server, bigquery):
    export = export_to(server, bigquery)
    ids = send(server, large())
    bigquery.fake.fault("PUT /upload/", status=410, reason="gone", skip=1)
    delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)


def test_an_upload_that_does_not_get_on_is_given_up_and_begun_again(server, bigquery):
    export = export_to(server, bigquery)
    ids = send(server, large())
    bigquery.fake.fault("PUT /upload/", do="cut", bytes=0, status=503, times=8, skip=1)
    delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)


def test_a_token_that_is_refused_in_the_middle(server, bigquery):
    export = export_to(server, bigquery)
    ids = send(server, large())
    fault = bigquery.fake.fault("PUT /upload/", status=401, reason="authError", skip=1)
    delivered(server, export, server.backfill(export))
    assert fault["met"] == 2 and bigquery.fake.count("POST /token") == 2
    must_be_once(bigquery.uuids(), ids, ids)


# ---- jobs ----

@pytest.mark.parametrize("reason", ["backendError", "jobBackendError", "jobInternalError", "tableUnavailable", "stopped",
                                    "notFound"])
def test_a_job_that_fails_late_is_made_again_under_the_next_number(server, bigquery, reason):
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(50)])
    bigquery.fake.job_faults.append({"what": "load", "reason": reason, "times": 2})
    delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)
    assert sorted(j["jobReference"]["jobId"].rsplit("_", 1)[1] for j in bigquery.fake.jobs_of("load")) == ["0", "1", "2"]


@pytest.mark.parametrize("reason", ["jobBackendError", "notFound"])
@pytest.mark.parametrize("what", ["stage", "merge"])
def test_a_merge_that_fails_late(server, bigquery, what, reason):
    export = export_to(server, bigquery, model="persons")
    send_persons(server)
    bigquery.fake.job_faults.append({"what": what, "reason": reason, "times": 2})
    delivered(server, export, server.backfill(export))
    assert persons(bigquery) == {f"p{i}": 1 for i in range(5)}


@pytest.mark.parametrize("where", ["call", "job"])
@pytest.mark.parametrize("reason, least", [("rateLimitExceeded", 14), ("quotaExceeded", 500)])
def test_too_much_is_waited_out(server, bigquery, where, reason, least):
    export = export_to(server, bigquery)
    send(server, [event()])
    if where == "call":
        bigquery.fake.fault("POST /upload/", status=403, reason=reason, times=100)
    else:
        bigquery.fake.job_faults.append({"what": "load", "reason": reason, "times": 100})
    server.backfill(export)
    run = wait_for(lambda: next((r for r in server.runs(export) if r["status"] == "FailedRetryable"), None), 30)
    from datetime import datetime
    due = datetime.fromisoformat(run["next_attempt_at"].replace("Z", "+00:00")).timestamp()
    assert due - time.time() > least
    time.sleep(4)
    assert bigquery.fake.count("POST /upload/") == 1  # nobody spins


def test_jobs_that_wait_and_run_long_are_waited_for(server, bigquery):
    bigquery.fake.pending_seconds, bigquery.fake.running_seconds = 1.5, 1.5
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(20)])
    delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)
    assert len(bigquery.fake.jobs_of("load")) == 1


def test_a_job_that_waits_for_hours_is_waited_for(server, bigquery):
    """And it is said; nothing is uploaded anew."""
    bigquery.fake.older_jobs = 2 * 3600
    bigquery.fake.pending_seconds = 3
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(20)])
    delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)
    assert len(bigquery.fake.jobs_of("load")) == 1 and bigquery.fake.count("POST .*/cancel") == 0
    assert "waits in BigQuery's queue for 120 minutes" in server.log()


def test_a_job_that_waits_for_too_long_is_made_anew_with_more_patience(server, bigquery):
    """pending_minutes: 60, then 120, then 240."""
    bigquery.fake.older_jobs = 3 * 3600
    bigquery.fake.pending_seconds = 3
    export = export_to(server, bigquery, config={"pending_minutes": 60})
    ids = send(server, [event(i) for i in range(20)])
    delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)
    assert len(bigquery.fake.jobs_of("load")) == 3 and bigquery.fake.count("POST .*/cancel") == 2


def test_load_jobs_come_no_faster_than_a_table_bears(make_server, bigquery):
    """8 connections, 5 changes of a table in 10 seconds: none fails, so none counts in vain."""
    bigquery.fake.table_rate = 5
    server = make_server(*bigquery.args, "--chunk-rows", "100")
    export = export_to(server, bigquery, config={"connections": 8, "loads_per_10_seconds": 5})
    ids = send(server, [event(i) for i in range(300)])
    delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)
    assert all(not j["result"] for j in bigquery.fake.jobs_of("load")) and len(bigquery.fake.jobs_of("load")) >= 8
    assert server.stop() == 0


def test_somebody_who_cancels_has_the_job_cancelled(server, bigquery):
    bigquery.fake.job_faults.append({"what": "load", "pending_seconds": 600})
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(20)])
    backfill = server.backfill(export)
    wait_for(lambda: bigquery.fake.jobs_of("load"))
    server.api("POST", f"/api/projects/1/batch_exports/{export['id']}/backfills/{backfill['id']}/cancel/")
    wait_for(lambda: bigquery.fake.count("POST .*/cancel"), 20)
    wait_for(lambda: all(r["status"] == "Cancelled" for r in server.runs(export)), 20)
    assert bigquery.uuids() == []
    delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)


def test_a_job_that_is_there_before_it_can_be_seen(server, bigquery):
    """409, and asking for it says 404 for a while."""
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(20)])
    bigquery.fake.fault("PUT /upload/", do="lose_error", status=409, reason="duplicate")
    fault = bigquery.fake.fault("GET .*/jobs/", status=404, reason="notFound", skip=1, times=4)
    delivered(server, export, server.backfill(export))
    assert fault["met"] == 5
    must_be_once(bigquery.uuids(), ids, ids)
    assert len(bigquery.fake.jobs_of("load")) == 1


def test_tries_that_are_there_already_go_by_their_own_jobs(server, bigquery):
    """Each upload makes its job and is answered with 409: no verdict is taken from the job before."""
    bigquery.fake.refused_text = "poison"
    export = export_to(server, bigquery)
    send(server, [event(properties={"x": "poison"})])
    ids = send(server, [event(i) for i in range(20)])
    bigquery.fake.fault("PUT /upload/", do="lose_error", status=409, reason="duplicate", times=1000)
    runs = delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)
    assert sum(r["account"]["rejected"] for r in runs) == 1


@pytest.mark.parametrize("how", ["killed", "given up"])
def test_a_load_that_arrives_when_nobody_waits_for_it_any_more(make_server, bigquery, how):
    """The last piece is on its way for long: whoever asked for the job in the meantime did not find it."""
    server = make_server(*bigquery.args)
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(20)])
    slow = bigquery.fake.fault("PUT /upload/", do="delay", seconds=6, late="lose" if how == "given up" else None)
    backfill = server.backfill(export)
    wait_for(lambda: slow["met"])
    if how == "killed":
        time.sleep(0.5)
        server.kill()
        server.start()
    delivered(server, export, backfill)
    wait_for(lambda: slow.get("ended"), 20)
    must_be_once(bigquery.uuids(), ids, ids)
    assert len(bigquery.fake.jobs_of("fence")) == (how == "killed")
    assert server.stop() == 0


@pytest.mark.parametrize("status, later", [(401, "loads"), (403, "loads"), (403, "streams")])
@pytest.mark.parametrize("when", ["the answer was lost", "the job runs"])
def test_a_key_that_is_revoked_after_the_last_piece(server, bigquery, status, later, when):
    """The job does well and nobody may ask for it: what another run delivers later is not the same again."""
    reason = "authError" if status == 401 else "accessDenied"
    export = export_to(server, bigquery)
    old = send(server, [event(i) for i in range(50)])
    if when == "the job runs":
        bigquery.fake.job_faults.append({"what": "load", "pending_seconds": 2})
    else:
        bigquery.fake.fault("PUT /upload/", do="lose")
        bigquery.fake.fault("PUT /upload/", status=status, reason=reason, times=1000)
    bigquery.fake.fault("GET .*/jobs/", status=status, reason=reason, skip=1, times=1000)
    failed = server.backfilled(export, server.backfill(export), 40)
    assert failed["status"] == "Failed"
    assert bigquery.fake.count("GET .*/jobs/") < 20  # nobody spins
    wait_for(lambda: all(bigquery.fake.state_of(j) == "DONE" for j in bigquery.fake.jobs_of("load")), 20)
    assert len(bigquery.rows()) == 50
    bigquery.fake.faults.clear()
    new = send(server, [event(i) for i in range(30)])
    if later == "loads":
        delivered(server, export, server.backfill(export, start="2026-02-01T00:00:00Z"))
    else:
        server.api("PATCH", f"/api/projects/1/batch_exports/{export['id']}/", {"interval": "realtime", "paused": False})
        wait_for(lambda: new <= set(bigquery.uuids()), 30)
    must_be_once(bigquery.uuids(), old | new, old | new)


@pytest.mark.parametrize("hidden", [False, True])
def test_jobs_of_another_account_are_not_taken_for_absent(server, bigquery, hidden):
    """The key is changed while a load runs that nobody has heard the end of: the new account may not see it."""
    bigquery.fake.hidden_jobs = hidden
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(50)])
    bigquery.fake.fault("PUT /upload/", do="lose")
    bigquery.fake.fault("PUT /upload/", status=503, times=1000)
    bigquery.fake.fault("GET .*/jobs/", status=503, skip=1, times=4)
    other = bigquery.fake.add_account("other@proj.iam.gserviceaccount.com")
    backfill = server.backfill(export)
    wait_for(lambda: len(bigquery.rows()) == 50 and bigquery.fake.count("GET .*/jobs/") > 1, 30)
    server.api("PATCH", f"/api/projects/1/batch_exports/{export['id']}/",
               {"destination": {"config": {"key_file": json.dumps(bigquery.fake.key_file(other))}}})
    bigquery.fake.faults.clear()
    ended = server.backfilled(export, backfill, 90)
    runs = server.runs(export)
    must_be_once(bigquery.uuids(), ids, ids)
    assert ended["status"] == "Completed" or "bigquery.jobs.get" in runs[0]["hint"]
    bigquery.fake.permissions.add("jobs.get")
    if ended["status"] != "Completed":
        server.api("POST", f"/api/projects/1/batch_exports/{export['id']}/runs/{runs[0]['id']}/retry/")
        wait_for(lambda: server.runs(export)[0]["status"] == "Completed", 60)
    must_be_once(bigquery.uuids(), ids, ids)


def test_a_table_that_is_dropped_in_the_middle_is_made_again(server, bigquery):
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(20)])
    bigquery.fake.job_faults.append({"what": "load", "reason": "notFound", "message": "Not found: Table proj:exports.events"})
    delivered(server, export, server.backfill(export))
    must_be_once(bigquery.uuids(), ids, ids)


def test_bigquery_that_is_down_for_a_while(server, bigquery):
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(900)])
    fault = bigquery.fake.fault(".*/bigquery/v2/", status=503, times=1_000_000)
    backfill = server.backfill(export)
    time.sleep(8)
    fault["times"] = 0
    delivered(server, export, backfill)
    must_be_once(bigquery.uuids(), ids, ids)


def test_memory_does_not_grow_with_the_chunk(make_server, bigquery):
    """180 MB that cannot be squeezed, one chunk: no more is kept than a piece of the upload."""
    if os.environ.get("TAILRACE_BUILD", "release") != "release":
        pytest.skip("a sanitizer's memory says nothing")
    bigquery.fake.count_only = True
    server = make_server(*bigquery.args)
    export = export_to(server, bigquery)
    ids = send(server, large(260))
    time.sleep(1)
    server.stop()
    server.start()
    server.api("GET", "/api/status/")
    before = server.rss_bytes(peak=True)
    runs = delivered(server, export, server.backfill(export), 120)
    grown = server.rss_bytes(peak=True) - before
    print(f"grown by {grown / 2 ** 20:.1f} MiB")
    assert runs[0]["records_completed"] == len(ids) and len(bigquery.fake.jobs_of("load")) <= 2
    assert grown < 64 * 2 ** 20


# ---- kill -9 ----

# What must be going on for a point to be passed, and how often it is, at least.
OFTEN = {"bq.table_made": 1, "bq.fenced": 1, "bq.counts_kept": 1, "bq.piece_sent": 2, "bq.sifted": 1, "bq.empty_made": 1}
MERGES = {"bq.stage_made", "bq.stage_loaded", "bq.before_merge", "bq.merge_made"}


def prepared(point, server, bigquery):
    """An export and its events, such that delivering them passes the point."""
    if point in MERGES:
        export = export_to(server, bigquery, model="persons")
        send_persons(server, of=700)
        return export, None
    if point == "bq.sifted":
        bigquery.fake.refused_text = "poison"
        export = export_to(server, bigquery)
        send(server, [event(properties={"x": "poison"})])
        return export, send(server, [event(i) for i in range(50)])
    if point == "bq.empty_made":
        export = export_to(server, bigquery, config={"include_events": ["nothing"]})
        send(server, [event(i) for i in range(50)])
        return export, set()
    if point == "bq.piece_sent":
        export = export_to(server, bigquery)
        return export, send(server, large())
    if point == "bq.counts_kept":  # a reject after the upload has begun
        export = export_to(server, bigquery)
        ids = send(server, large(30))
        send(server, [event(timestamp="1970-01-01T00:00:00Z")])
        return export, ids
    export = export_to(server, bigquery)
    return export, send(server, [event(i) for i in range(1300)])


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("nth", [1, 3])
def test_killed_at(point, nth, make_server, bigquery):
    passes = min(nth, OFTEN.get(point, nth))
    bigquery.fake.hidden_jobs = nth == 1
    server = make_server(*bigquery.args, "--chunk-rows", "300")
    export, ids = prepared(point, server, bigquery)
    if point == "bq.fenced":  # a chunk that was sent and is not there
        server.stop()
        server.start(env={"TAILRACE_KILL_AT": "delivery.chunk_sent:2"})
        backfill = server.backfill(export)
        wait_for(lambda: not server.alive(), 40, 0.02)
        server.died()
        server.start(env={"TAILRACE_KILL_AT": f"{point}:{passes}"})
    else:
        server.stop()
        server.start(env={"TAILRACE_KILL_AT": f"{point}:{passes}"})
        backfill = server.backfill(export)
    try:
        wait_for(lambda: not server.alive(), 60, 0.02)
    except AssertionError:
        pytest.fail(f"{point} was not passed {passes} times")
    server.died()
    server.start()
    runs = delivered(server, export, backfill)
    if point in MERGES:
        assert persons(bigquery) == {f"p{i}": 1 for i in range(700)}
    else:
        must_be_once(bigquery.uuids(), ids, ids)
        accounts = [r["account"] for r in runs]
        assert all(a["balanced"] for a in accounts)
        assert sum(a["delivered"] + a["already_there"] for a in accounts) == len(ids)
        if point in ("bq.sifted", "bq.counts_kept"):
            assert sum(a["rejected"] for a in accounts) == 1
    assert server.stop() == 0


def test_killed_20_times(make_server, bigquery):
    import random
    rng = random.Random(20)
    server = make_server(*bigquery.args, "--chunk-rows", "100")
    export = export_to(server, bigquery)
    ids = send(server, [event(i) for i in range(4000)])
    bigquery.fake.running_seconds = 0.05
    backfill = server.backfill(export)
    for _ in range(20):
        time.sleep(rng.uniform(0.1, 0.6))
        server.kill()
        server.start()
    delivered(server, export, backfill)
    must_be_once(bigquery.uuids(), ids, ids)
    ended = collections.Counter(j["configuration"]["labels"]["tailrace"] for j in bigquery.fake.jobs.values())
    assert ended["load"] >= 40
    assert server.stop() == 0
