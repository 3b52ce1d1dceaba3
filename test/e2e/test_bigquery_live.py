"""BigQuery in real time: the real binary streaming to a fake that is as strict as the service."""

import json
import time
import uuid

import pytest
from harness import wait_for

EXPORTS = "/api/projects/1/batch_exports/"


@pytest.fixture
def server(make_server, bigquery):
    it = make_server(*bigquery.args)
    yield it
    assert it.stop() == 0, it.log()


def event(**more):
    return {"event": "signed up", "distinct_id": "ada", "uuid": str(uuid.uuid4()), "properties": {"plan": "pro"}, **more}


def send(server, *events):
    assert server.capture(list(events)).status_code == 200
    return {e["uuid"] for e in events}


def live(server, bigquery, **more):
    config = more.pop("config", {})
    return server.create_export(bigquery.destination(**config), interval="realtime", **more)


def arrived(bigquery, ids, seconds=20, table="events"):
    wait_for(lambda: {r["uuid"] for r in bigquery.rows(table)} >= ids, seconds)
    assert sorted(r["uuid"] for r in bigquery.rows(table)) == sorted(ids)


def account(server, export):
    """What the runs of it have done so far; those under way are cut off by a pause."""
    server.api("POST", f"{EXPORTS}{export['id']}/pause/")
    wait_for(lambda: all(r["status"] != "Running" for r in server.runs(export)))
    accounts = [r["account"] for r in server.runs(export)]
    return {k: sum(a[k] for a in accounts) for k in ("delivered", "rejected", "excluded", "repaired")}


def rejects(server, export):
    return [x for r in server.runs(export)
            for x in server.api("GET", f"{EXPORTS}{export['id']}/runs/{r['id']}/rejects/")["results"]]


@pytest.mark.threads
def test_events_arrive_within_seconds(server, bigquery):
    export = live(server, bigquery)
    ids = set()
    for i in range(5):
        new = send(server, *(event(event=f"e{i}") for _ in range(20)))
        began = time.time()
        ids |= new
        wait_for(lambda new=new: new <= {r["uuid"] for r in bigquery.rows()}, 10)
        assert time.time() - began < 5
    arrived(bigquery, ids)
    row = bigquery.rows()[0]
    assert list(row) == ["uuid", "event", "properties", "elements", "set", "set_once", "distinct_id", "team_id", "ip",
                         "site_url", "timestamp", "bq_ingested_timestamp"]
    assert json.loads(row["properties"])["plan"] == "pro" and row["team_id"] == 1
    assert abs(row["bq_ingested_timestamp"] / 1e6 - time.time()) < 60
    assert bigquery.table_resource()["timePartitioning"] == {"type": "DAY", "field": "timestamp"}
    assert bigquery.fake.jobs == {}, "a stream needs no job"
    assert account(server, export)["delivered"] == 100


def test_only_the_documented_rights_are_used(server, bigquery):
    bigquery.fake.permissions = {"datasets.get", "tables.create", "tables.get", "tables.updateData"}
    live(server, bigquery)
    arrived(bigquery, send(server, event()))
    assert bigquery.fake.used <= bigquery.fake.permissions


FIVE = {"datasets.get", "tables.create", "tables.get", "tables.list", "tables.updateData"}


def test_the_apps_five_rights_are_enough(make_server, bigquery):
    """The role of PostHog's BigQuery Export app: tested, made, streaming, and going on after a kill."""
    bigquery.fake.permissions = set(FIVE)
    server = make_server(*bigquery.args)
    body = {"destination": bigquery.destination(), "interval": "realtime"}
    steps = server.api("GET", EXPORTS + "test/", params={"destination": "BigQuery", "interval": "realtime"})["steps"]
    for i in range(len(steps)):
        answer = server.api("POST", f"{EXPORTS}run_test_step_new/", {**body, "step": i})
        assert answer["status"] == "Passed", answer
    export = live(server, bigquery, test=True)
    server.cli("export", "test", export["id"])
    ids = send(server, *(event() for _ in range(10)))
    arrived(bigquery, ids)
    server.kill()
    server.start()
    ids |= send(server, *(event() for _ in range(10)))
    arrived(bigquery, ids)
    assert bigquery.fake.used <= FIVE and bigquery.fake.jobs == {}
    assert server.stop() == 0


@pytest.mark.parametrize("missing", sorted(FIVE - {"tables.list"}))
def test_a_right_of_the_five_that_is_missing_is_named(server, bigquery, missing):
    bigquery.fake.permissions = FIVE - {missing}
    body = {"name": "x", "model": "events", "interval": "realtime", "destination": bigquery.destination(), "test": True}
    answer = server.api("POST", EXPORTS, body, expect=400)
    assert "bigquery." + missing in answer["hint"] + answer["detail"]


def test_a_project_that_is_not_there_is_found_without_a_job(server, bigquery):
    body = {"destination": bigquery.destination(project_id="other"), "interval": "realtime", "step": 3}
    answer = server.api("POST", f"{EXPORTS}run_test_step_new/", body)
    assert answer["status"] == "Failed" and answer["reason"] == "bigquery.no_project"
    body["destination"] = bigquery.destination(dataset_id="nowhere")
    assert server.api("POST", f"{EXPORTS}run_test_step_new/", body)["status"] == "Passed"


def test_the_test_waits_until_a_new_table_is_known(server, bigquery):
    """However the service says that it is not."""
    bigquery.fake.blind_seconds = 6
    bigquery.fake.not_known = 1
    began = time.time()
    live(server, bigquery, test=True)
    assert 5 < time.time() - began < 40 and bigquery.fake.not_known >= 4


def test_the_apps_events_are_left_out_unless_somebody_says_what_to(server, bigquery):
    export = live(server, bigquery)
    assert set(export["destination"]["config"]["exclude_events"]) == {"$autocapture", "$feature_flag_called"}
    live(server, bigquery, config={"table_id": "all", "exclude_events": []})
    odd = send(server, event(event="$autocapture"), event(event="$feature_flag_called"))
    ids = send(server, event())
    arrived(bigquery, ids)
    arrived(bigquery, ids | odd, table="all")
    assert account(server, export)["excluded"] == 2


def test_elements_go_with_autocaptured_events_or_with_any(server, bigquery):
    chain = 'a:nth-child="1"'
    live(server, bigquery, config={"exclude_events": []})
    live(server, bigquery, config={"exclude_events": [], "table_id": "any", "elements_on_any_event": True})
    auto = event(event="$autocapture", properties={"$elements_chain": chain})
    other = event(properties={"$elements_chain": chain})
    ids = send(server, auto, other)
    arrived(bigquery, ids)
    arrived(bigquery, ids, table="any")
    few = {r["uuid"]: r["elements"] for r in bigquery.rows()}
    assert json.loads(few[auto["uuid"]]) == chain and few[other["uuid"]] == "[]"
    assert {json.loads(r["elements"]) for r in bigquery.rows("any")} == {chain}


def test_a_bad_row_is_a_reject_and_the_others_are_not_sent_twice(server, bigquery):
    """Rows that only BigQuery refuses: a time beyond what may be streamed, an old clock within days_past."""
    export = live(server, bigquery, config={"days_past": 36500})
    good = [event() for _ in range(50)]
    bad = [event(timestamp="1999-01-01T00:00:00Z") for _ in range(3)]
    send(server, *good[:20], bad[0], *good[20:40], *bad[1:], *good[40:])
    arrived(bigquery, {e["uuid"] for e in good})
    time.sleep(2)
    found = account(server, export)
    assert (found["delivered"], found["rejected"]) == (50, 3)
    told = rejects(server, export)
    assert {r["uuid"] for r in told} == {e["uuid"] for e in bad}
    assert all("timestamp" in r["reason"] and "out of the allowed bounds" in r["reason"] for r in told)
    assert bigquery.fake.streamed == {u: 1 for u in bigquery.fake.streamed}, "rows were sent again"


def test_rows_are_stopped_by_a_bad_one_and_go_alone(server, bigquery):
    """A service that does not skip: then, too, only what did not go in is sent again."""
    bigquery.fake.never_skip = True
    export = live(server, bigquery, config={"days_past": 36500})
    good, bad = [event() for _ in range(30)], event(timestamp="1999-01-01T00:00:00Z")
    send(server, *good[:10], bad, *good[10:])
    arrived(bigquery, {e["uuid"] for e in good})
    assert wait_for(lambda: bigquery.fake.streamed)[bad["uuid"]] == 1
    assert account(server, export)["rejected"] == 1
    assert server.metric("tailrace_bigquery_streamed_again_total") == 30


@pytest.mark.parametrize("reason", ["backendError", "timeout"])
def test_rows_that_failed_without_fault_are_sent_again(server, bigquery, reason):
    live(server, bigquery)
    bigquery.fake.row_faults.append({"every": 3, "reason": reason, "times": 2})
    ids = send(server, *(event() for _ in range(30)))
    arrived(bigquery, ids)
    sent = bigquery.fake.streamed
    assert sorted(sent.values()) == [1] * 20 + [2] * 6 + [3] * 4


def test_json_columns_get_the_text_of_what_they_can_hold(server, bigquery):
    export = live(server, bigquery, config={"use_json_type": True})
    odd = {"big": 2 ** 70, "text": "\u00e4 \U0001F600 \" \\ \n", "list": [1, [2]], "price": 54.10}
    ids = send(server, event(properties=odd))
    arrived(bigquery, ids)
    kept = json.loads(bigquery.rows()[0]["properties"])
    assert kept["big"] == float(2 ** 70) and kept["text"] == odd["text"] and kept["price"] == 54.10
    assert account(server, export)["repaired"] == 1


@pytest.mark.threads
def test_a_request_that_is_too_big_is_split(server, bigquery):
    bigquery.fake.insert_bytes = 200_000
    export = live(server, bigquery)
    ids = send(server, *(event(properties={"t": "x" * 20_000}) for _ in range(40)))
    alone = event(properties={"t": "y" * 300_000})
    send(server, alone)
    arrived(bigquery, ids)
    wait_for(lambda: rejects(server, export))
    assert account(server, export)["rejected"] == 1
    told = rejects(server, export)
    assert [r["uuid"] for r in told] == [alone["uuid"]] and "too big" in told[0]["reason"]


@pytest.mark.parametrize("config, step", [({"interval": "realtime"}, "Stream a row"), ({}, "Load a row")])
def test_the_last_step_of_the_test_is_what_the_export_does(server, bigquery, config, step):
    names = [s["name"] for s in server.api("GET", EXPORTS + "test/", params={"destination": "BigQuery", **config})["steps"]]
    assert names[-1] == step
    body = {"destination": bigquery.destination(), "step": len(names) - 1, **config}
    assert server.api("POST", EXPORTS + "run_test_step_new/", body)["status"] == "Passed"
    made = [n for n in bigquery.tables() if n.startswith("events_test")]
    assert len(bigquery.rows(made[0])) == 1 and "expirationTime" in bigquery.tables()[made[0]].resource
    assert (bigquery.fake.count("insertAll") == 1) == (step == "Stream a row")
    bigquery.fake.permissions.discard("tables.updateData")
    if step == "Stream a row":
        answer = server.api("POST", EXPORTS + "run_test_step_new/", body)
        assert answer["status"] == "Failed" and "tables.updateData" in answer["hint"]


@pytest.mark.parametrize("interval, step", [("realtime", "Stream a row"), ("hour", "Load a row")])
def test_an_export_is_made_when_a_row_has_arrived(server, bigquery, interval, step):
    """Unless it is asked for without the test."""
    body = {"name": "x", "model": "events", "interval": interval, "destination": bigquery.destination()}
    bigquery.fake.permissions.discard("tables.updateData")
    answer = server.api("POST", EXPORTS, body, expect=400)
    assert step in answer["detail"] and "tables.updateData" in answer["hint"]
    assert server.api("GET", EXPORTS)["results"] == []
    server.api("POST", EXPORTS, {**body, "test": False}, expect=201)
    bigquery.fake.permissions.add("tables.updateData")
    server.api("POST", EXPORTS, body, expect=201)
    assert len(server.api("GET", EXPORTS)["results"]) == 2


def test_the_test_of_an_export_in_real_time_streams(server, bigquery):
    export = live(server, bigquery)
    server.cli("export", "test", export["id"])
    assert bigquery.fake.count("events_test/insertAll") == 1


def test_limits_of_real_time_are_told(server, bigquery):
    destination = bigquery.destination(buffer_seconds=601)
    for body, words in [({"interval": "realtime", "destination": destination}, "buffer_seconds"),
                        ({"interval": "realtime", "destination": bigquery.destination(buffer_bytes=20_000_000)}, "buffer_bytes"),
                        ({"interval": "realtime", "model": "persons", "destination": bigquery.destination()}, "real time"),
                        ({"interval": "every 10 seconds", "destination": bigquery.destination()}, "realtime")]:
        answer = server.api("POST", EXPORTS, {"name": "x", "model": "events", **body}, expect=400)
        assert words in json.dumps(answer), answer


def test_a_backfill_of_what_was_streamed_doubles_nothing(server, bigquery):
    """And it is loaded, not streamed, where the stream had not been."""
    early = send(server, *(event() for _ in range(10)))
    time.sleep(1)
    export = live(server, bigquery, start_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1)))
    time.sleep(2)
    ids = send(server, *(event() for _ in range(10)))
    arrived(bigquery, ids)
    server.api("PATCH", f"{EXPORTS}{export['id']}/", {"start_at": None})
    ended = server.backfilled(export, server.backfill(export))
    assert ended["status"] == "Completed"
    arrived(bigquery, ids | early)
    assert bigquery.fake.count("insertAll") >= 1 and bigquery.fake.jobs_of("load")


def test_a_long_buffer_waits_over_the_minute(server, bigquery):
    """A run lasts for 10 minutes then, and only its end sends what waits."""
    at = time.time()
    if at // 600 != (at + 100) // 600:
        time.sleep(600 - at % 600)
    live(server, bigquery, config={"buffer_seconds": 70})
    time.sleep(2)
    sent = time.time()
    ids = send(server, event())
    wait_for(bigquery.rows, 90)
    assert 68 < time.time() - sent < 80
    arrived(bigquery, ids)


def test_a_long_buffer_waits_and_a_full_one_does_not(server, bigquery):
    if time.time() % 600 > 590:
        time.sleep(11)
    live(server, bigquery, config={"buffer_seconds": 600, "buffer_bytes": 1_000_000})
    few = send(server, event())
    time.sleep(3)
    assert bigquery.rows() == []
    for _ in range(4):
        few |= send(server, *(event(properties={"t": uuid.uuid4().hex * 10_000}) for _ in range(4)))
    wait_for(lambda: len(bigquery.rows()) >= 3, 10)
    assert {r["uuid"] for r in bigquery.rows()} <= few


def test_what_was_streamed_is_verified_and_copies_are_found(server, bigquery):
    import datetime
    export = live(server, bigquery)
    ids = send(server, *(event() for _ in range(20)))
    arrived(bigquery, ids)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    server.api("PATCH", f"{EXPORTS}{export['id']}/", {"end_at": now})
    wait_for(lambda: all(r["status"] == "Completed" for r in server.runs(export)), 70)
    args = ["verify", "--export", export["id"], "--start", "-2h", "--recount", "--json"]
    verdicts = server.cli(*args)
    assert verdicts["ok"] and sum(v["found_there"] or 0 for v in verdicts["results"]) == 20, verdicts
    bigquery.tables()["events"].rows.append(bigquery.rows()[3])
    verdicts = server.cli(*args, expect=1)
    assert "copies_at_target" in {v["verdict"].lower() for v in verdicts["results"]}, verdicts
    bigquery.tables().pop("events")
    bigquery.fake.used.clear()
    verdicts = server.cli(*args, expect=1)  # looking makes nothing
    assert not verdicts["ok"] and sum(v["found_there"] or 0 for v in verdicts["results"]) == 0, verdicts
    assert "events" not in bigquery.tables() and bigquery.fake.used <= {"tables.get", "datasets.get"}
