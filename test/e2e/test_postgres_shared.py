"""Several projects, exports and installations write into one table of PostgreSQL: each stays its own."""

import collections
import uuid

import pytest
import requests
from harness import wait_for

EXPORTS = "/api/projects/{}/batch_exports/"
START = "2026-01-01T00:00:00Z"


def second_project(server):
    return server.api("POST", "/api/projects/", {"name": "two"})


def send(server, names, token=None):
    """One event of each name, the same uuids whoever gets them. Returns {name: uuid}."""
    ids = {name: str(uuid.uuid5(uuid.NAMESPACE_DNS, name)) for name in names}
    events = [{"event": name, "distinct_id": "d", "uuid": ids[name]} for name in names]
    assert server.capture(events, token=token).status_code == 200
    return ids


def export(server, warehouse, project=1, **config):
    return server.create_export(warehouse.destination(**config), interval="every 5 seconds", project=project, paused=True)


def fill(server, made, project=1, **more):
    done = server.backfilled(made, server.backfill(made, start=START, project=project, **more), project=project)
    runs = server.runs(made, project=project)
    return done["status"], " ".join(f"{r['latest_error']} {r.get('hint')}" for r in runs if r["status"] == "Failed")


def ask(server, made, project=1):
    return requests.get(server.url + EXPORTS.format(project) + f"{made['id']}/verify/", timeout=60,
                        params={"start": "-10m", "recount": "true"},
                        headers={"Authorization": f"Bearer {server.owner_token}"})


def recount(server, made, expected, project=1):
    """What verify says once it judges so many events: intervals are judged when they have ended."""
    def judged():
        said = ask(server, made, project).json()
        return said if said["expected_there"] == expected else None
    return wait_for(judged, 20, 0.5)


def refusal(server, made):
    def refused():
        said = ask(server, made)
        return said.text if said.status_code >= 400 else None
    return wait_for(refused, 20, 0.5)


def rows(warehouse):
    return sorted(warehouse.query("SELECT team_id, event FROM EVENTS"))


NAMES = ["a", "b", "c", "d"]


def test_two_projects_in_one_table_keep_their_rows(server, warehouse):
    other = second_project(server)
    send(server, NAMES)
    send(server, NAMES, token=other["api_token"])  # an SDK that sends to both: the same uuids
    one, two = export(server, warehouse), export(server, warehouse, project=other["id"])
    assert fill(server, one)[0] == "Completed"
    assert fill(server, two, project=other["id"])[0] == "Completed"
    both = sorted((team, name) for team in (1, other["id"]) for name in NAMES)
    assert rows(warehouse) == both

    assert fill(server, one, on_delivered="replace")[0] == "Completed"
    assert rows(warehouse) == both
    assert recount(server, one, 4)["ok"] and recount(server, two, 4, project=other["id"])["ok"]

    warehouse.admin.execute(f"DELETE FROM {warehouse.schema}.events WHERE team_id = 1 AND event IN ('a', 'b')")
    lost = recount(server, one, 4)
    assert not lost["ok"] and lost["found_there"] == 2
    assert recount(server, two, 4, project=other["id"])["ok"]


def test_without_team_id_two_projects_cannot_be_told_apart(server, warehouse):
    warehouse.admin.execute(f"CREATE TABLE {warehouse.schema}.events (uuid text, event text)")
    warehouse.admin.execute(f"ALTER TABLE {warehouse.schema}.events OWNER TO {warehouse.user}")
    other = second_project(server)
    send(server, NAMES)
    send(server, NAMES, token=other["api_token"])
    one, two = export(server, warehouse), export(server, warehouse, project=other["id"])
    assert fill(server, one)[0] == "Completed"
    assert fill(server, one, on_delivered="replace")[0] == "Completed"  # alone, it may
    assert fill(server, two, project=other["id"])[0] == "Completed"
    status, why = fill(server, one, on_delivered="replace")
    assert status == "Failed" and "another project" in why and "team_id" in why
    assert collections.Counter(warehouse.uuids()) == {u: 2 for u in send(server, NAMES).values()}
    assert "another project" in refusal(server, one)


def test_exports_with_different_filters_keep_their_rows(server, warehouse):
    send(server, NAMES)
    one = export(server, warehouse, include_events=["a", "b"])
    two = export(server, warehouse, include_events=["c", "d"])
    for made in (one, two):
        assert fill(server, made)[0] == "Completed"
    assert [name for _, name in rows(warehouse)] == NAMES
    warehouse.admin.execute(f"UPDATE {warehouse.schema}.events SET ip = 'old'")
    assert fill(server, one, on_delivered="replace")[0] == "Completed"
    assert sorted(warehouse.query("SELECT event, ip = 'old' FROM EVENTS")) == [
        ("a", False), ("b", False), ("c", True), ("d", True)]
    assert recount(server, one, 2)["ok"] and recount(server, two, 2)["ok"]
    warehouse.admin.execute(f"DELETE FROM {warehouse.schema}.events WHERE event = 'a'")
    lost = recount(server, one, 2)
    assert not lost["ok"] and lost["found_there"] == 1
    assert recount(server, two, 2)["ok"]


def test_events_that_two_exports_deliver_are_nobodys_to_replace(server, warehouse):
    send(server, NAMES)
    one = export(server, warehouse)
    two = export(server, warehouse, include_events=["c"])
    for made in (one, two):
        assert fill(server, made)[0] == "Completed"
    before = rows(warehouse)
    status, why = fill(server, one, on_delivered="replace")
    assert status == "Failed" and two["id"] in why and "table of its own" in why
    assert rows(warehouse) == before
    assert two["id"] in refusal(server, one)


@pytest.mark.parametrize("spelled", ["another installation", "another spelling"])
def test_rows_of_writers_that_cannot_be_known_are_left_alone(spelled, server, make_server, warehouse):
    send(server, NAMES)
    one = export(server, warehouse)
    second, config = server, {"host": "localhost"}
    if spelled == "another installation":
        second, config = make_server(name="second"), {}
        send(second, NAMES)
    two = export(second, warehouse, **config)
    assert fill(server, one)[0] == "Completed" and fill(second, two)[0] == "Completed"
    before = rows(warehouse)
    status, why = fill(server, one, on_delivered="replace")
    assert status == "Failed" and "another installation or an export that names the place otherwise" in why
    assert rows(warehouse) == before
