"""Persons: events make them, a table in PostgreSQL is kept right."""

import time
import uuid

import requests
from harness import wait_for

EXPORTS = "/api/projects/1/batch_exports/"
SPACE = uuid.UUID("932979b4-65c3-4424-8467-0b66ec27bc22")


def person_id(distinct_id, project=1):
    return str(uuid.uuid5(SPACE, f"{project}:{distinct_id}"))


def send(server, *events):
    assert server.capture([{"properties": {}, **e} for e in events]).status_code == 200


def table(warehouse, name="events"):
    if not warehouse.exists():
        return {}
    rows = warehouse.query("SELECT distinct_id, person_id, properties, person_version, person_distinct_id_version,"
                           " is_deleted FROM EVENTS")
    found = {r[0]: (r[1], plain(r[2]), *r[3:]) for r in rows}
    assert len(found) == len(rows)
    return found


def plain(properties):
    """Without the event that made the person."""
    return {name: value for name, value in properties.items() if name != "$creator_event_uuid"}


def persons_export(server, warehouse, **more):
    return server.create_export(warehouse.destination(), model="persons", **more)


def test_a_person_is_made_updated_and_joined(server, warehouse):
    persons_export(server, warehouse)
    made_by = str(uuid.uuid4())
    send(server, {"uuid": made_by, "event": "seen", "distinct_id": "anon",
                  "properties": {"$set": {"a": 1}, "$browser": "Firefox"}})
    row = wait_for(lambda: table(warehouse).get("anon"))
    assert warehouse.query("SELECT properties->>'$creator_event_uuid' FROM EVENTS") == [(made_by,)]
    assert row == (person_id("anon"), {"a": 1, "$browser": "Firefox", "$initial_browser": "Firefox"}, 0, 0, False)

    send(server, {"event": "seen", "distinct_id": "anon", "properties": {"$set": {"a": 2}}},
         {"event": "$identify", "distinct_id": "user@example.com",
          "properties": {"$anon_distinct_id": "anon", "$set": {"email": "user@example.com"}}})
    wait_for(lambda: "user@example.com" in table(warehouse))
    got = table(warehouse)
    assert got["anon"] == (person_id("anon"), {"a": 2, "$browser": "Firefox", "$initial_browser": "Firefox",
                                               "email": "user@example.com"}, 2, 0, False)
    assert got["user@example.com"] == got["anon"]


def test_two_persons_become_one_and_the_moved_id_wins(server, warehouse):
    persons_export(server, warehouse)
    send(server, {"event": "x", "distinct_id": "a", "properties": {"$set": {"from": "a", "only_a": 1}}},
         {"event": "x", "distinct_id": "b", "properties": {"$set": {"from": "b"}}})
    wait_for(lambda: len(table(warehouse)) == 2)
    send(server, {"event": "$merge_dangerously", "distinct_id": "b", "properties": {"alias": "a"}})
    wait_for(lambda: table(warehouse)["a"][0] == person_id("b"))
    got = table(warehouse)
    assert got["a"] == (person_id("b"), {"from": "b", "only_a": 1}, 1, 1, False)
    assert got["b"] == (person_id("b"), {"from": "b", "only_a": 1}, 1, 0, False)


def test_an_existing_table_without_a_key_is_refused_with_the_statement(server, warehouse):
    warehouse.admin.execute(f"CREATE TABLE {warehouse.schema}.events (team_id int, distinct_id text, person_id text,"
                            " properties jsonb, person_version bigint, person_distinct_id_version bigint)")
    warehouse.admin.execute(f"GRANT ALL ON {warehouse.schema}.events TO {warehouse.user}")
    export = persons_export(server, warehouse)
    send(server, {"event": "x", "distinct_id": "a"})
    run = wait_for(lambda: next((r for r in server.runs(export) if r["status"] == "Failed"), None))
    assert 'ADD PRIMARY KEY ("team_id", "distinct_id")' in run["latest_error"]
    warehouse.admin.execute(f'ALTER TABLE {warehouse.schema}.events ADD PRIMARY KEY ("team_id", "distinct_id")')
    server.api("POST", f"{EXPORTS}{export['id']}/runs/{run['id']}/retry/", {})
    wait_for(lambda: warehouse.query("SELECT count(*) FROM EVENTS")[0][0] == 1)


def test_what_events_belong_to_is_as_it_was_then(server, warehouse):
    columns = ["uuid", "distinct_id", "person_id", "person_properties", "$group_0", "$group_1", "created_at", "_inserted_at"]
    server.create_export(warehouse.destination(), columns=columns)
    uuids = [str(uuid.uuid4()) for _ in range(6)]
    send(server, {"uuid": uuids[0], "event": "x", "distinct_id": "p", "properties": {"$set": {"n": 1}}},
         {"uuid": uuids[1], "event": "x", "distinct_id": "p", "properties": {"$groups": {"company": "acme"}}},
         {"uuid": uuids[2], "event": "x", "distinct_id": "p",
          "properties": {"$set": {"n": 2}, "$groups": {"team": "t\u00fc", "company": 5}}},
         {"uuid": uuids[3], "event": "x", "distinct_id": "nobody", "properties": {"$process_person_profile": False}},
         {"uuid": uuids[4], "event": "$exception", "distinct_id": "p", "properties": {"$set": {"n": 3}}},
         {"uuid": uuids[5], "event": "x", "distinct_id": "p",
          "properties": {"$process_person_profile": False, "$set": {"n": 4}, "$groups": {"company": "acme"}}})
    wait_for(lambda: len(warehouse.uuids()) == 6)
    got = {r[0]: (r[1], plain(r[2]), *r[3:]) for r in warehouse.query(
        'SELECT uuid, person_id, person_properties, "$group_0", "$group_1" FROM EVENTS')}
    p = person_id("p")
    assert got == {uuids[0]: (p, {"n": 1}, None, None), uuids[1]: (p, {"n": 1}, "acme", None),
                   uuids[2]: (p, {"n": 2}, "5", "t\u00fc"), uuids[3]: (person_id("nobody"), {}, None, None),
                   uuids[4]: (p, {"n": 3}, None, None), uuids[5]: (p, {}, None, None)}


def test_a_person_is_deleted_over_the_api_and_comes_back_above_the_tombstone(server, warehouse):
    persons_export(server, warehouse)
    send(server, {"event": "x", "distinct_id": "a", "properties": {"$set": {"n": 1}}},
         {"event": "$identify", "distinct_id": "a", "properties": {"$anon_distinct_id": "b"}})
    wait_for(lambda: len(table(warehouse)) == 2)
    path = f"/api/projects/1/persons/{person_id('a')}/"
    assert plain(server.api("GET", path)["properties"]) == {"n": 1}
    server.api("DELETE", path)
    wait_for(lambda: table(warehouse)["a"][4])
    gone = table(warehouse)
    assert gone["a"] == (person_id("a"), {}, 102 - 1, 0, True) and gone["b"] == gone["a"]
    server.api("DELETE", path, expect=404)

    send(server, {"event": "x", "distinct_id": "a", "properties": {"$set": {"n": 2}}})
    row = wait_for(lambda: not table(warehouse)["a"][4] and table(warehouse)["a"])
    assert row[0] == person_id("a") and row[1] == {"n": 2} and row[2] > gone["a"][2]


def test_a_person_is_deleted_with_its_distinct_ids_by_the_command(server, warehouse):
    persons_export(server, warehouse)
    send(server, {"event": "x", "distinct_id": "a"},
         {"event": "$identify", "distinct_id": "a", "properties": {"$anon_distinct_id": "b"}})
    wait_for(lambda: len(table(warehouse)) == 2)
    shown = server.cli("person", "show", "b", "--json")
    assert shown["id"] == person_id("a") and shown["distinct_ids"] == ["a", "b"]
    server.cli("person", "delete", shown["id"], "--with-distinct-ids")
    wait_for(lambda: table(warehouse)["a"][4] and table(warehouse)["b"][4])
    assert table(warehouse)["b"][3] == 100
    server.cli("person", "show", "b", expect=1)
    server.cli("person", "delete", shown["id"], expect=1)
    server.cli("person", "delete", "b", expect=2)


def test_a_backfill_from_the_beginning_brings_every_person_and_never_appends(server, warehouse):
    send(server, *({"event": "x", "distinct_id": f"d{i}", "properties": {"$set": {"i": i}}} for i in range(300)))
    time.sleep(6)
    export = persons_export(server, warehouse, paused=True, start_at=None)
    backfills = f"{EXPORTS}{export['id']}/backfills/"
    answer = server.api("POST", backfills, {"start_at": None, "end_at": None, "on_delivered": "append"}, expect=400)
    assert "append" in answer["detail"] and answer["attr"] == "on_delivered"
    made = server.cli("backfill", "create", "--export", export["id"], "--wait", "--json")
    assert made["status"] == "Completed"
    assert {d: r[1]["i"] for d, r in table(warehouse).items()} == {f"d{i}": i for i in range(300)}


def test_who_cannot_be_merged_is_told_of(server):
    send(server, {"event": "$identify", "distinct_id": "a", "properties": {"$anon_distinct_id": "undefined"}},
         {"event": "$identify", "distinct_id": "a", "properties": {"$anon_distinct_id": "null"}})
    text = wait_for(lambda: (t := server.cli("project", "warnings")) and "illegal" in t and t)
    line = next(line for line in text.splitlines() if "cannot_merge_with_illegal_distinct_id" in line)
    assert "2" in line.split()


def test_what_is_wrong_with_events_is_told_with_an_example(server):
    """An SDK that sends a $session_id of its own, and a flag as a text: the first thing that is asked of support."""
    send(server, {"event": "x", "distinct_id": "a", "properties": {"$session_id": "mine-1"}},
         {"event": "x", "distinct_id": "a", "properties": {"$session_id": "mine-2", "$process_person_profile": "false"}},
         {"event": "$identify", "distinct_id": "b", "properties": {"$anon_distinct_id": 17}})
    listed = wait_for(lambda: (w := server.api("GET", "/api/projects/1/warnings/")["results"]) and len(w) == 3 and w)
    told = {w["type"]: (w["count"], w["distinct_id"], w["other"]) for w in listed}
    assert told == {"invalid_event_session_id": (2, "a", "mine-2"),
                    "invalid_process_person_profile": (1, "a", "false"),
                    "invalid_anon_distinct_id": (1, "b", None)}
    server.stop()
    server.start()
    again = server.api("GET", "/api/projects/1/warnings/")["results"]
    assert [(w["type"], w["count"]) for w in again] == [(w["type"], w["count"]) for w in listed]


def test_events_after_a_pause_are_not_held(server):
    """The stamps of events before and after a pause are far apart: that is no lag."""
    for _ in range(3):
        send(server, {"event": "x", "distinct_id": "a"})
        send(server, {"event": "x", "distinct_id": "b"})
        time.sleep(1.5)
    assert server.metric("tailrace_store_held_commits_total") == 0


def test_persons_are_counted_again_at_the_table(server, warehouse):
    export = persons_export(server, warehouse)
    send(server, *({"event": "x", "distinct_id": f"d{i}", "properties": {"$set": {"i": i}}} for i in range(50)))
    wait_for(lambda: len(table(warehouse)) == 50)
    send(server, {"event": "x", "distinct_id": "d7", "properties": {"$set": {"i": -7}}})
    wait_for(lambda: table(warehouse)["d7"][1]["i"] == -7)
    time.sleep(5)
    verify = ["verify", "--export", export["id"], "--recount", "--json"]
    assert server.cli(*verify)["ok"]
    warehouse.admin.execute(f"UPDATE {warehouse.schema}.events SET person_version = 0 WHERE distinct_id = 'd7'")
    assert not server.cli(*verify, expect=1)["ok"]
    warehouse.admin.execute(f"UPDATE {warehouse.schema}.events SET person_version = 1 WHERE distinct_id = 'd7'")
    assert server.cli(*verify)["ok"]
    warehouse.admin.execute(f"DELETE FROM {warehouse.schema}.events WHERE distinct_id = 'd9'")
    assert not server.cli(*verify, expect=1)["ok"]


def test_a_table_is_named_as_its_model_and_tested_for_it(server, warehouse):
    destination = warehouse.destination()
    del destination["config"]["table_name"]
    for model in "events", "persons", "sessions", "groups":
        export = server.create_export(destination, model=model, test=True)
        assert export["destination"]["config"]["table_name"] == model
    send(server, {"event": "x", "distinct_id": "a"})
    wait_for(lambda: warehouse.admin.execute("SELECT to_regclass(%s)", [f"{warehouse.schema}.persons"]).fetchone()[0])
    assert "Passed" in server.cli("export", "test", export["id"])

    warehouse.admin.execute(f"CREATE TABLE {warehouse.schema}.bare (LIKE {warehouse.schema}.persons)")
    warehouse.admin.execute(f"GRANT ALL ON {warehouse.schema}.bare TO {warehouse.user}")
    destination["config"]["table_name"] = "bare"
    refused = server.api("POST", EXPORTS, {"name": "x", "model": "persons", "destination": destination, "test": True},
                         expect=400)
    assert "ADD PRIMARY KEY" in refused["detail"]


def test_ids_of_any_size_stop_nobody(make_server, warehouse):
    """As large as the operator lets an event be, with an escape that makes a copy necessary."""
    server = make_server("--max-event-bytes", "8MiB")
    persons_export(server, warehouse)
    token = server.capture_token()
    long = "\\u0041" + "y" * 3_000_000
    for properties in f'"$anon_distinct_id": "{long}"', f'"$groups": {{"{long}": "{long[:-9]}"}}', f'"alias": "{long}"':
        event = "$create_alias" if "alias" in properties else "$identify"
        body = f'{{"api_key": "{token}", "event": "{event}", "distinct_id": "a", "properties": {{{properties}}}}}'
        assert requests.post(server.url + "/i/v0/e/", data=body, timeout=60).status_code == 200
    send(server, {"event": "x", "distinct_id": "after", "properties": {"$set": {"n": 1}}})
    wait_for(lambda: table(warehouse).get("after"), 60)
    assert set(table(warehouse)) == {"a", "after"}
    told = {w["type"]: w["count"] for w in server.api("GET", "/api/projects/1/warnings/")["results"]}
    assert told["cannot_merge_with_illegal_distinct_id"] == 2 and told["group_key_too_long"] == 1


def test_a_trimmed_person_has_a_version_for_each_event_that_trims_it(server, warehouse):
    """What was trimmed comes with the next event again: the same event twice is not one that changes nothing."""
    persons_export(server, warehouse)
    send(server, {"event": "x", "distinct_id": "a", "properties": {"$set": {"a": "a" * 250_000, "b": "b" * 250_000}}})
    for _ in range(4):
        send(server, {"event": "x", "distinct_id": "a", "properties": {"$set": {"c": "c" * 300_000}}})
    row = wait_for(lambda: table(warehouse).get("a", (0, 0, 0))[2] >= 4 and table(warehouse)["a"])
    assert row[2] == 4 and set(row[1]) == {"a", "b"}
