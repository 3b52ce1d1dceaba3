"""BigQuery: the real binary against a fake that is as strict as the service."""

import datetime
import json
import time
import uuid

import pytest
from harness import wait_for

EXPORTS = "/api/projects/1/batch_exports/"
STAMP = "2026-11-20T12:00:00.123456Z"


@pytest.fixture
def server(make_server, bigquery):
    it = make_server(*bigquery.args)
    yield it
    assert it.stop() == 0, it.log()


def event(**more):
    return {"event": "signed up", "distinct_id": "ada", "uuid": str(uuid.uuid4()), "timestamp": STAMP,
            "properties": {"plan": "pro"}, **more}


def send(server, *events):
    assert server.capture(list(events)).status_code == 200
    return {e["uuid"] for e in events}


def export_to(server, bigquery, **more):
    """Paused: at the turn of an hour its schedule would make a run beside the backfill's."""
    config = more.pop("config", {})
    return server.create_export(bigquery.destination(**config), interval="hour", paused=True, **more)


def deliver(server, export, status="Completed", **more):
    """A backfill of everything; its runs, the newest first."""
    ended = server.backfilled(export, server.backfill(export, **more))
    runs = server.runs(export)
    assert ended["status"] == status, [r["latest_error"] for r in runs]
    return runs


def failing(server, export):
    """The error of the run of a backfill, whether it is tried again or not."""
    server.backfill(export)
    return wait_for(lambda: next((r for r in server.runs(export) if r["latest_error"]), None), 20)


def finish(server, export):
    """The export ends now: its last interval is a short one, and can be verified."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat()
    server.api("PATCH", f"{EXPORTS}{export['id']}/", {"end_at": now})
    time.sleep(1)


# ---- what arrives ----

def test_events_arrive_once_with_posthogs_columns(server, bigquery):
    export = export_to(server, bigquery)
    ids = send(server, *(event(event=f"e{i}") for i in range(50)))
    run = deliver(server, export)[0]
    assert run["records_completed"] == 50 and run["account"]["balanced"]
    deliver(server, export)  # again: nothing is doubled
    assert bigquery.uuids() == sorted(ids)
    row = bigquery.rows()[0]
    assert list(row) == ["uuid", "event", "properties", "elements", "set", "set_once", "distinct_id", "team_id", "ip",
                         "site_url", "timestamp", "bq_ingested_timestamp"]
    assert json.loads(row["properties"])["plan"] == "pro" and row["team_id"] == 1
    assert row["timestamp"] == 1795176000123456
    assert abs(row["bq_ingested_timestamp"] / 1e6 - time.time()) < 60
    assert bigquery.table_resource()["timePartitioning"] == {"type": "DAY", "field": "timestamp"}


def test_only_the_documented_rights_are_used(server, bigquery):
    bigquery.fake.permissions -= {"tables.delete"}
    for step in range(7):
        answer = server.api("POST", f"{EXPORTS}run_test_step_new/", {"destination": bigquery.destination(), "step": step})
        assert answer["status"] == "Passed", answer
    export = export_to(server, bigquery, test=True)
    send(server, event())
    deliver(server, export)
    assert bigquery.fake.used <= {"jobs.create", "datasets.get", "tables.create", "tables.get", "tables.updateData"}
    assert all("expirationTime" in t.resource for n, t in bigquery.tables().items() if n != "events")


@pytest.mark.parametrize("model", ["events", "persons"])
def test_jobs_that_are_not_there_may_be_hidden(server, bigquery, model):
    """Who may not see the jobs of others is told 403 of a job that nobody has made: it is made all the same."""
    bigquery.fake.hidden_jobs = True
    export = export_to(server, bigquery, model=model)
    send(server, event(), event(distinct_id="bob"))
    run = deliver(server, export)[0]
    assert run["account"]["balanced"] and len(bigquery.rows()) == 2
    nothing = export_to(server, bigquery, config={"include_events": ["nothing"], "table_id": "none"})
    deliver(server, nothing)


def test_rows_are_verified_at_the_table(server, bigquery):
    export = export_to(server, bigquery)
    ids = send(server, *(event() for _ in range(20)))
    deliver(server, export)
    finish(server, export)
    args = ["verify", "--export", export["id"], "--start", "-2h", "--recount", "--json"]
    verdicts = server.cli(*args)
    assert verdicts["ok"], verdicts
    lost = sorted(ids)[3]
    table = bigquery.tables()["events"]
    table.rows = [r for r in table.rows if r["uuid"] != lost]
    verdicts = server.cli(*args, expect=1)
    assert not verdicts["ok"] and "lost_at_target" in {v["verdict"].lower() for v in verdicts["results"]}


@pytest.mark.parametrize("model", ["events", "persons"])
def test_verify_does_not_make_the_table_that_is_gone(server, bigquery, model):
    """Looking asks for the table, and for no right but to read."""
    export = export_to(server, bigquery, model=model)
    send(server, event())
    deliver(server, export)
    finish(server, export)
    bigquery.tables().pop("events")
    bigquery.fake.used.clear()
    verdicts = server.cli("verify", "--export", export["id"], "--start", "-2h", "--recount", "--json", expect=1)
    assert not verdicts["ok"] and verdicts["expected_there"] == 1 and verdicts["found_there"] == 0, verdicts
    assert "events" not in bigquery.tables() and bigquery.fake.used <= {"tables.get", "datasets.get"}


def test_json_columns_hold_what_they_can(server, bigquery):
    export = export_to(server, bigquery, config={"use_json_type": True})
    odd = {"big": 2 ** 70, "small": 1e-5, "text": "\u00e4 \U0001F600", "list": [1, [2]], "price": 54.10}
    good = event(properties=odd)
    send(server, good)
    run = deliver(server, export)[0]
    kept = json.loads(bigquery.rows()[0]["properties"])
    assert kept["big"] == float(2 ** 70) and kept["text"] == odd["text"] and kept["price"] == 54.10
    assert run["account"]["repaired"] == 1
    server.api("PATCH", f"{EXPORTS}{export['id']}/", {"destination": {"config": {"use_json_type": False}}}, expect=400)


@pytest.mark.parametrize("interval", ["hour", "realtime"])
def test_coordinates_go_into_json_columns(server, bigquery, interval):
    """Of 100,000 some are repaired: BigQuery would refuse the digits in which they came (as 67.174118)."""
    import random
    rng = random.Random(7)
    events = [event(properties={"at": [round(rng.uniform(-180, 180), rng.randint(4, 8)) for _ in range(1000)] + [67.174118]})
              for _ in range(100)]
    export = server.create_export(bigquery.destination(use_json_type=True), interval=interval, paused=interval == "hour")
    for i in range(0, 100, 20):
        send(server, *events[i:i + 20])
    if interval == "hour":
        run = deliver(server, export)[0]
        assert run["account"]["delivered"] == run["account"]["repaired"] == 100 and run["account"]["rejected"] == 0
    wait_for(lambda: len(bigquery.rows()) == 100, 30)
    kept = {r["uuid"]: json.loads(r["properties"])["at"] for r in bigquery.rows()}
    assert kept == {e["uuid"]: e["properties"]["at"] for e in events}


def test_keys_are_never_cut(server, bigquery):
    """Five people whose ids begin alike stay five, or are rejects: never one row."""
    export = export_to(server, bigquery, model="persons")
    send(server, event(distinct_id="short", properties={"$set": {"a": 1}}))
    deliver(server, export)
    schema = bigquery.table_resource()["schema"]["fields"]
    next(f for f in schema if f["name"] == "distinct_id")["maxLength"] = "10"
    send(server, *(event(distinct_id=f"a-long-name-{i}", properties={"$set": {"a": i}}) for i in range(5)))
    run = deliver(server, export)[0]
    assert run["account"]["rejected"] == 5 and run["account"]["repaired"] == 0 and run["account"]["balanced"]
    assert [r["distinct_id"] for r in bigquery.rows()] == ["short"]
    rejects = server.api("GET", f"{EXPORTS}{export['id']}/runs/{run['id']}/rejects/")["results"]
    assert len(rejects) == 5 and all("distinct_id" in r["reason"] and "not cut" in r["reason"] for r in rejects)


def test_a_clock_years_away_is_a_reject(server, bigquery):
    export = export_to(server, bigquery)
    ids = send(server, event(), event())
    odd = [event(timestamp="1999-01-01T00:00:00Z"), event(timestamp="1970-01-01T00:00:00Z")]
    send(server, *odd)
    run = deliver(server, export)[0]
    assert bigquery.uuids() == sorted(ids)
    assert run["records_failed"] == 2 and run["account"]["balanced"]
    rejects = server.api("GET", f"{EXPORTS}{export['id']}/runs/{run['id']}/rejects/")["results"]
    assert {r["uuid"] for r in rejects} == {e["uuid"] for e in odd}
    assert all("days_past" in r["reason"] for r in rejects)
    wide = export_to(server, bigquery, config={"table_id": "wide", "days_past": 30000})
    assert deliver(server, wide)[0]["records_completed"] == 4


def days_ago(days):
    return (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=days)).isoformat()


@pytest.mark.parametrize("by", ["dataset", "DAY", "HOUR", "MONTH"])
def test_rows_that_a_partitions_expiration_would_delete_are_rejects(server, bigquery, by):
    """Not "delivered" and gone."""
    month_ms = 30 * 86_400_000
    if by == "dataset":
        bigquery.fake.datasets[bigquery.dataset]["partition_ms"] = month_ms
        export = export_to(server, bigquery)
    else:
        export_to(server, bigquery)
        send(server, event(event="first", timestamp=days_ago(0)))
        export = export_to(server, bigquery, config={"exclude_events": ["first"]})
        deliver(server, export)
        bigquery.table_resource()["timePartitioning"] = {"type": by, "field": "timestamp", "expirationMs": str(month_ms)}
    good = send(server, *(event(timestamp=days_ago(n)) for n in (0, 0.1)))
    bad = send(server, *(event(timestamp=days_ago(n)) for n in (70, 100, 400)))
    run = deliver(server, export)[0]
    assert bigquery.uuids() == sorted(good)
    assert (run["account"]["delivered"], run["account"]["rejected"]) == (2, 3) and run["account"]["balanced"]
    rejects = server.api("GET", f"{EXPORTS}{export['id']}/runs/{run['id']}/rejects/")["results"]
    assert {r["uuid"] for r in rejects} == bad and all("expiration" in r["reason"] for r in rejects)
    assert "keeps its partitions for 30 days" in server.log()


def test_a_table_that_deletes_itself_is_told_of(server, bigquery):
    bigquery.fake.datasets[bigquery.dataset]["lifetime_ms"] = 5 * 86_400_000
    export = export_to(server, bigquery)
    send(server, event())
    deliver(server, export)
    assert "deletes itself in 5.0 days" in server.log()


@pytest.mark.parametrize("connections", [1, 4])
def test_more_partitions_than_a_load_takes_are_several_loads(make_server, bigquery, connections):
    """An hourly table, and events of 5,000 hours: no good row is refused."""
    server = make_server(*bigquery.args)
    export = export_to(server, bigquery, config={"connections": connections})
    send(server, event(event="first"))
    deliver(server, export)
    bigquery.table_resource()["timePartitioning"] = {"type": "HOUR", "field": "timestamp"}
    events = [event(timestamp=days_ago(i / 24)) for i in range(5000)]
    ids = set()
    for i in range(0, 5000, 1000):
        ids |= send(server, *events[i:i + 1000])
    run = deliver(server, export)[0]
    assert run["account"]["rejected"] == 0 and run["account"]["balanced"]
    found = [r["uuid"] for r in bigquery.rows() if r["event"] != "first"]
    assert sorted(found) == sorted(ids)
    assert server.stop() == 0


def test_rows_that_only_bigquery_refuses_are_found(server, bigquery):
    """Some named by the load's errors, some not."""
    bigquery.fake.refused_text = "poison"
    export = export_to(server, bigquery)
    bad = [event(properties={"x": "poison"}) for _ in range(30)]
    good = [event() for _ in range(300)]
    mixed = good[:100] + bad[:10] + good[100:200] + bad[10:] + good[200:]
    send(server, *mixed)
    run = deliver(server, export)[0]
    assert bigquery.uuids() == sorted(e["uuid"] for e in good)
    assert run["records_failed"] == 30 and run["account"]["balanced"]
    rejects = server.api("GET", f"{EXPORTS}{export['id']}/runs/{run['id']}/rejects/")["results"]
    assert {r["uuid"] for r in rejects} == {e["uuid"] for e in bad}
    assert "refused text" in rejects[0]["reason"]


def test_errors_that_name_no_row_are_halved(server, bigquery):
    bigquery.fake.refused_text = "poison"
    bigquery.fake.forget_row_errors = True
    export = export_to(server, bigquery)
    bad, good = event(properties={"x": "poison"}), [event() for _ in range(60)]
    send(server, *good[:20], bad, *good[20:])
    run = deliver(server, export)[0]
    assert bigquery.uuids() == sorted(e["uuid"] for e in good) and run["records_failed"] == 1


# ---- rows that change ----

def persons(bigquery):
    found = {r["distinct_id"]: (r["person_id"], json.loads(r["properties"]), r["person_version"],
                                r["person_distinct_id_version"]) for r in bigquery.rows()}
    assert len(found) == len(bigquery.rows())
    return found


def test_persons_are_kept_right(server, bigquery):
    export = export_to(server, bigquery, model="persons")
    send(server, event(distinct_id="anon", properties={"$set": {"a": 1}}))
    deliver(server, export)
    first = persons(bigquery)
    assert first["anon"][1]["a"] == 1
    send(server, event(distinct_id="anon", properties={"$set": {"a": 2}}),
         event(event="$identify", distinct_id="user", properties={"$anon_distinct_id": "anon", "$set": {"mail": "m"}}))
    deliver(server, export)
    then = persons(bigquery)
    assert then["anon"] == then["user"] and then["anon"][1]["a"] == 2 and then["anon"][2] > first["anon"][2]
    send(server, event(distinct_id="other", properties={"$set": {"b": 1}}),
         event(event="$merge_dangerously", distinct_id="other", properties={"alias": "user"}))
    deliver(server, export)
    last = persons(bigquery)
    assert last["user"][0] == last["other"][0] != first["anon"][0]
    assert [n for n in bigquery.tables() if n.startswith("tailrace_")] == []
    finish(server, export)
    args = ["verify", "--export", export["id"], "--start", "-2h", "--recount", "--json"]
    wait_for(lambda: server.cli(*args)["found_there"] == 3, 20, 1)
    bigquery.rows()[0]["person_version"] -= 1  # somebody's UPDATE
    assert not server.cli(*args, expect=1)["ok"]


def test_a_second_export_into_one_table_of_persons_fills_its_own_columns(server, bigquery):
    """The rows are there in that version already: without what only the second brings."""
    few = [{"name": n} for n in ("team_id", "distinct_id", "person_id", "properties", "person_version", "person_distinct_id_version")]
    first = export_to(server, bigquery, model="persons", columns=few)
    send(server, event(distinct_id="ada", properties={"$set": {"a": 1}}))
    deliver(server, first)
    bigquery.table_resource()["schema"]["fields"].append({"name": "created_at", "type": "TIMESTAMP", "mode": "NULLABLE"})
    assert bigquery.rows()[0].get("created_at") is None
    second = export_to(server, bigquery, model="persons", columns=few + [{"name": "created_at"}])
    deliver(server, second)
    row = bigquery.rows()[0]
    assert len(bigquery.rows()) == 1 and row["created_at"] is not None and json.loads(row["properties"])["a"] == 1


def test_a_persons_table_is_mended_by_replacing(server, bigquery):
    export = export_to(server, bigquery, model="persons")
    send(server, event(distinct_id="ada", properties={"$set": {"a": 1}}))
    deliver(server, export)
    bigquery.rows()[0]["properties"] = "{}"  # somebody's UPDATE
    deliver(server, export)
    assert persons(bigquery)["ada"][1] == {}
    deliver(server, export, on_delivered="replace")
    assert persons(bigquery)["ada"][1]["a"] == 1


def test_stages_that_may_not_be_deleted_are_told_of(server, bigquery):
    bigquery.fake.permissions -= {"tables.delete"}
    export = export_to(server, bigquery, model="persons")
    send(server, event(distinct_id="ada", properties={"$set": {"a": 1}}))
    deliver(server, export)
    assert persons(bigquery)["ada"][1]["a"] == 1
    stages = [t for n, t in bigquery.tables().items() if n.startswith("tailrace_stage")]
    assert len(stages) == 1 and "expirationTime" in stages[0].resource
    assert "bigquery.tables.delete" in server.log()


PARTITIONED = [{"timePartitioning": {"type": "DAY", "field": "created_at"}},
               {"timePartitioning": {"type": "MONTH", "field": "created_at"}}, {"timePartitioning": {"type": "DAY"}},
               {"rangePartitioning": {"field": "team_id", "range": {"start": "0", "end": "100", "interval": "1"}}}]


@pytest.mark.parametrize("how", PARTITIONED)
def test_a_table_that_requires_a_filter_on_its_partitions_is_merged_into(server, bigquery, how):
    export = export_to(server, bigquery, model="persons")
    send(server, event(distinct_id="ada", properties={"$set": {"a": 1}}))
    deliver(server, export)
    bigquery.table_resource().update(how, requirePartitionFilter=True)
    if "field" not in how.get("timePartitioning", {"field": 1}):  # by the time of loading
        bigquery.tables()["events"].partition_of = lambda row: None
    send(server, event(distinct_id="ada", properties={"$set": {"a": 2}}), event(distinct_id="bob", properties={"$set": {"b": 1}}))
    server.cli("export", "test", export["id"])
    deliver(server, export)
    found = persons(bigquery)
    assert found["ada"][1]["a"] == 2 and set(found) == {"ada", "bob"}
    finish(server, export)
    wait_for(lambda: server.cli("verify", "--export", export["id"], "--start", "-2h", "--recount", "--json")["found_there"] == 2,
             20, 1)


@pytest.mark.parametrize("model, keys", [("persons", ["team_id", "distinct_id"]), ("sessions", ["team_id", "session_id"]),
                                         ("groups", ["team_id", "group_type_index", "group_key"])])
def test_tables_that_are_merged_into_are_clustered_by_key(server, bigquery, model, keys):
    export = export_to(server, bigquery, model=model)
    send(server, event(properties={"$session_id": "01934f2a-7a6b-7c3d-9e4f-5a6b7c8d9e0f"}),
         event(event="$groupidentify", properties={"$group_type": "org", "$group_key": "o", "$group_set": {"a": 1}}))
    deliver(server, export)
    assert sorted(bigquery.table_resource()["clustering"]["fields"]) == sorted(keys)


def test_the_test_of_a_merged_model_asks_for_what_its_first_run_needs(server, bigquery):
    """tables.getData: a load alone does without it."""
    bigquery.fake.permissions.discard("tables.getData")
    body = {"model": "persons", "interval": "hour", "destination": bigquery.destination(), "step": 6}
    answer = server.api("POST", f"{EXPORTS}run_test_step_new/", body)
    assert answer["status"] == "Failed" and "bigquery.tables.getData" in answer["hint"], answer
    assert server.api("POST", f"{EXPORTS}run_test_step_new/", {**body, "model": "events"})["status"] == "Passed"
    bigquery.fake.permissions.add("tables.getData")
    assert server.api("POST", f"{EXPORTS}run_test_step_new/", body)["status"] == "Passed"
    assert all(j["configuration"].get("load") for j in bigquery.fake.jobs.values()), "it was only looked at"


# ---- columns that have a default ----

@pytest.mark.parametrize("interval, model", [("hour", "events"), ("realtime", "events"), ("hour", "persons")])
def test_columns_with_a_default_get_it_in_every_way(server, bigquery, interval, model):
    """One that is REQUIRED and one that is not; loaded, streamed, merged."""
    first = export_to(server, bigquery, model=model)
    send(server, event(event="first"))
    deliver(server, first)
    bigquery.table_resource()["schema"]["fields"] += [
        {"name": "source", "type": "STRING", "mode": "REQUIRED", "defaultValueExpression": "'tailrace'"},
        {"name": "kind", "type": "INTEGER", "mode": "NULLABLE", "defaultValueExpression": "7"},
        {"name": "none", "type": "STRING", "mode": "NULLABLE"}]
    server.api("DELETE", f"{EXPORTS}{first['id']}/", expect=204)
    for row in bigquery.rows():
        bigquery.tables()["events"].rows.remove(row)
    export = server.create_export(bigquery.destination(), model=model, interval=interval, paused=interval == "hour")
    send(server, event(distinct_id="eve", properties={"$set": {"a": 1}}))
    if interval == "hour":
        deliver(server, export, on_delivered="replace" if model == "persons" else "append")
    wait_for(bigquery.rows, 20)
    assert {(r["source"], r["kind"], r["none"]) for r in bigquery.rows()} == {("tailrace", 7, None)}
    assert sum(r["account"]["rejected"] for r in server.runs(export)) == 0


# ---- configuration ----

@pytest.mark.parametrize("interval", ["every 5 seconds", "every 4 minutes"])
def test_too_often_is_refused_with_the_way_out(server, bigquery, interval):
    answer = server.api("POST", EXPORTS, {"destination": bigquery.destination(), "interval": interval}, expect=400)
    assert answer["attr"] == "interval" and "1,500" in answer["detail"] and "5 minutes" in answer["hint"]
    server.api("POST", EXPORTS, {"destination": bigquery.destination(), "interval": "every 5 minutes"}, expect=201)


@pytest.mark.parametrize("config, attr", [
    ({"key_file": None}, "key_file"), ({"dataset_id": "proj:exports"}, "dataset_id"), ({"table_id": "t$20260101"}, "table_id"),
    ({"key_file": "{}"}, "key_file"), ({"api_endpoint": "https://bigquery.evil.example"}, "api_endpoint"),
    ({"service_account_email": "a@b"}, "")])
def test_what_does_not_go_together_is_refused(server, bigquery, config, attr):
    answer = server.api("POST", EXPORTS, {"destination": bigquery.destination(**config), "interval": "hour"}, expect=400)
    assert attr in answer["attr"] + answer["detail"] and "PRIVATE" not in json.dumps(answer)


def test_a_key_that_leads_elsewhere_is_refused(server, bigquery):
    key = bigquery.fake.key_file() | {"token_uri": "https://169.254.169.254/token"}
    answer = server.api("POST", EXPORTS, {"interval": "hour", "destination": bigquery.destination(key_file=json.dumps(key))},
                        expect=400)
    assert "token_uri" in answer["detail"]


def test_hosts_must_be_named_by_the_operator(make_server, bigquery):
    server = make_server()
    answer = server.api("POST", EXPORTS, {"destination": bigquery.destination(), "interval": "hour"}, expect=400)
    assert "--allow-hosts" in answer["hint"]


def test_the_servers_own_token_goes_to_hosts_of_iam_only(make_server, bigquery, operator):
    server = make_server("--allow-hosts", bigquery.fake.host, "--google-identity", str(operator))
    body = {"destination": impersonating(bigquery), "interval": "hour"}
    answer = server.api("POST", EXPORTS, body, expect=400)
    assert "iam_endpoint" in answer["detail"] and "--iam-hosts" in answer["hint"]
    server.api("POST", f"{EXPORTS}run_test_step_new/", body | {"step": 1}, expect=400)
    assert bigquery.fake.count(".") == 0


def test_secrets_are_never_shown(server, bigquery):
    export = export_to(server, bigquery)
    key = bigquery.fake.key_file()["private_key"].split("\n")[5]
    send(server, event())
    deliver(server, export)
    bigquery.fake.fault("POST .*/jobs", do="error", status=403, reason="accessDenied", times=100)
    failing(server, export) if send(server, event()) else None
    shown = json.dumps(server.api("GET", f"{EXPORTS}{export['id']}/")) + server.log() + json.dumps(server.runs(export))
    assert key not in shown and "ya29." not in shown and "PRIVATE KEY" not in shown
    assert export["destination"]["config"]["dataset_id"] == bigquery.dataset
    for path in server.data.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("permission, step", [("jobs.create", 3), ("datasets.get", 4), ("tables.get", 5),
                                              ("tables.create", 5), ("tables.updateData", 6)])
def test_steps_name_the_right_that_is_missing(server, bigquery, permission, step):
    bigquery.fake.permissions.discard(permission)
    answers = [server.api("POST", f"{EXPORTS}run_test_step_new/", {"destination": bigquery.destination(), "step": i})
               for i in range(7)]
    failed = next(a for a in answers if a["status"] == "Failed")
    assert answers.index(failed) == step
    assert permission in failed["message"] + failed["hint"]


def test_creating_with_a_test_says_what_is_wrong(server, bigquery):
    body = {"destination": bigquery.destination(dataset_id="nowhere"), "interval": "hour", "test": True}
    answer = server.api("POST", EXPORTS, body, expect=400)
    assert "Find the dataset" in answer["detail"] and "dataset_id" in answer["hint"]
    assert server.api("GET", EXPORTS)["results"] == []


# ---- tokens ----

def test_a_clock_that_is_wrong_is_explained(server, bigquery):
    bigquery.fake.clock_skew = 7200
    export = export_to(server, bigquery)
    send(server, event())
    run = failing(server, export)
    assert run["status"] == "Failed" and "behind of Google's" in run["latest_error"]
    assert "clock" in run["hint"]


def test_a_deleted_key_is_explained(server, bigquery):
    export = export_to(server, bigquery)
    bigquery.fake.accounts.clear()
    run = failing(server, export) if send(server, event()) else None
    assert run["status"] == "Failed" and "account not found" in run["latest_error"] and run["hint"]


def test_tokens_are_kept_and_made_anew_when_refused(server, bigquery):
    export = export_to(server, bigquery)
    for _ in range(3):
        send(server, event())
        deliver(server, export)
    assert bigquery.fake.count("POST /token") == 1
    bigquery.fake.forget_tokens()
    send(server, event())
    deliver(server, export)
    assert bigquery.fake.count("POST /token") == 2


# ---- impersonation ----

@pytest.fixture
def operator(bigquery, tmp_path):
    """The operator's own account, as a key file, which the user's account trusts."""
    own = bigquery.fake.add_account("tailrace@operator.iam.gserviceaccount.com")
    bigquery.fake.account.may_be_impersonated_by = {own.email}
    bigquery.fake.account.may_be_looked_at_by = {own.email}
    path = tmp_path / "own.json"
    path.write_text(json.dumps(bigquery.fake.key_file(own)))
    return path


def impersonating(bigquery):
    return bigquery.destination(key_file=None, service_account_email=bigquery.fake.account.email, project_id="proj",
                                iam_endpoint=bigquery.fake.url)


def test_status_says_what_the_set_up_needs(make_server, bigquery, operator):
    server = make_server(*bigquery.args, "--google-identity", str(operator))
    status = server.api("GET", "/api/status/")
    assert status["google_identity"] == "tailrace@operator.iam.gserviceaccount.com"
    assert status["google_description"] == f"tailrace:{status['organization_id']}"
    assert "PRIVATE" not in json.dumps(status)
    text = server.cli("status")
    assert status["google_identity"] in text and status["google_description"] in text
    # What is copied from there is enough; without it the step says the same two things.
    body = {"destination": impersonating(bigquery), "interval": "hour"}
    answer = server.api("POST", f"{EXPORTS}run_test_step_new/", body | {"step": 2})
    assert answer["status"] == "Failed" and answer["reason"] == "google.not_owner"
    for what in ("google_identity", "google_description"):
        assert status[what] in answer["message"], answer
    bigquery.fake.account.description = status["google_description"]
    answer = server.api("POST", f"{EXPORTS}run_test_step_new/", body | {"step": 2})
    assert answer["status"] == "Passed", answer
    assert server.stop() == 0


def test_status_without_an_identity_and_with_the_machines(make_server, bigquery):
    server = make_server(*bigquery.args)
    assert server.api("GET", "/api/status/")["google_identity"] is None
    assert "none (serve --google-identity gives one)" in server.cli("status")
    assert server.stop() == 0
    server = make_server(*bigquery.args, "--google-identity", f"metadata:{bigquery.fake.host}")
    assert server.api("GET", "/api/status/")["google_identity"] == "metadata"
    assert bigquery.fake.count(".") == 0  # nobody was asked
    assert server.stop() == 0


def test_a_service_account_is_impersonated(make_server, bigquery, operator):
    server = make_server(*bigquery.args, "--google-identity", str(operator))
    organization = server.api("GET", "/api/status/")["organization_id"]
    bigquery.fake.account.description = f"exports, tailrace:{organization}"
    export = server.create_export(impersonating(bigquery), interval="hour", test=True)
    ids = send(server, event())
    deliver(server, export)
    assert bigquery.uuids() == sorted(ids)
    assert bigquery.fake.count("generateAccessToken") == 2  # the one of the test is a fresh one; then the cache
    assert server.stop() == 0


def test_an_account_of_somebody_else_is_not_used(make_server, bigquery, operator):
    server = make_server(*bigquery.args, "--google-identity", str(operator))
    organization = server.api("GET", "/api/status/")["organization_id"]
    bigquery.fake.account.description = f"posthog:{organization}0"
    export = server.create_export(impersonating(bigquery), interval="hour")
    send(server, event())
    run = failing(server, export)
    assert run["status"] == "FailedRetryable" and f"tailrace:{organization}" in run["latest_error"]  # Google may be slow
    assert "description" in run["hint"]
    assert bigquery.rows() == [] and bigquery.table_resource() is None
    bigquery.fake.account.description = f"posthog:{organization}"
    wait_for(bigquery.rows, 40, 0.5)
    assert server.stop() == 0


@pytest.mark.parametrize("interval", ["hour", "realtime"])
def test_no_step_acts_as_an_account_of_somebody_else(make_server, bigquery, operator, interval):
    server = make_server(*bigquery.args, "--google-identity", str(operator))
    bigquery.fake.account.description = "exports of somebody else"
    body = {"destination": impersonating(bigquery), "interval": interval}
    for step in range(2, 7):
        answer = server.api("POST", f"{EXPORTS}run_test_step_new/", body | {"step": step})
        assert answer["status"] == "Failed" and answer["reason"] == "google.not_owner", answer
    assert bigquery.fake.count("generateAccessToken|/bigquery/") == 0 and bigquery.tables() == {}
    assert server.stop() == 0


def test_the_machines_own_identity(make_server, bigquery):
    bigquery.fake.metadata_account = "vm@operator.iam.gserviceaccount.com"
    bigquery.fake.account.may_be_impersonated_by = {bigquery.fake.metadata_account}
    bigquery.fake.account.may_be_looked_at_by = {bigquery.fake.metadata_account}
    server = make_server(*bigquery.args, "--google-identity", f"metadata:{bigquery.fake.host}")
    bigquery.fake.account.description = "posthog:" + server.api("GET", "/api/status/")["organization_id"]
    export = server.create_export(impersonating(bigquery), interval="hour")
    ids = send(server, event())
    deliver(server, export)
    assert bigquery.uuids() == sorted(ids)
    assert server.stop() == 0


def test_without_an_identity_nobody_is_impersonated(server, bigquery):
    answer = server.api("POST", f"{EXPORTS}run_test_step_new/", {"destination": impersonating(bigquery), "step": 0})
    assert answer["status"] == "Failed" and "--google-identity" in answer["hint"]
