"""Two projects deliver into one table of BigQuery: each stays its own, though an SDK gives both the same uuids."""

import time
import uuid

import pytest
import requests
from harness import wait_for

EXPORTS = "/api/projects/{}/batch_exports/"


@pytest.fixture
def server(make_server, bigquery):
    it = make_server(*bigquery.args)
    yield it
    assert it.stop() == 0, it.log()


def send(server, *tokens):
    ids = [str(uuid.uuid4()) for _ in range(4)]
    events = [{"event": f"e{i}", "distinct_id": "d", "uuid": u} for i, u in enumerate(ids)]
    for token in tokens:
        assert server.capture(events, token=token).status_code == 200
    return ids


def recount(server, export, project):
    def judged():
        said = requests.get(server.url + EXPORTS.format(project) + f"{export['id']}/verify/", timeout=60,
                            params={"start": "-10m", "recount": "true"},
                            headers={"Authorization": f"Bearer {server.owner_token}"}).json()
        return said if said.get("expected_there") == 4 else None
    return wait_for(judged, 30, 0.5)


def end(server, export, project):
    """The export ends now, so that its last interval can be judged."""
    now = time.strftime("%Y-%m-%dT%H:%M:%S.%fZ".replace("%f", "000000"), time.gmtime(time.time() + 1))
    server.api("PATCH", f"{EXPORTS.format(project)}{export['id']}/", {"end_at": now})
    time.sleep(1.5)


def test_two_projects_in_one_table_are_counted_apart(server, bigquery):
    other = server.api("POST", "/api/projects/", {"name": "two"})
    ids = send(server, None, other["api_token"])
    made = {}
    for project in (1, other["id"]):
        made[project] = server.create_export(bigquery.destination(), interval="hour", project=project, paused=True)
        backfill = server.backfill(made[project], project=project)
        assert server.backfilled(made[project], backfill, project=project)["status"] == "Completed"
    assert len(bigquery.rows()) == 8
    for project, export in made.items():
        end(server, export, project)
        assert recount(server, export, project)["ok"]
    table = bigquery.tables()["events"]
    table.rows = [r for r in table.rows if r["team_id"] != 1 or r["uuid"] not in ids[:2]]
    said = recount(server, made[1], 1)
    assert not said["ok"] and said["found_there"] == 2
    assert recount(server, made[other["id"]], other["id"])["ok"]


def test_two_projects_stream_into_one_table(server, bigquery):
    other = server.api("POST", "/api/projects/", {"name": "two"})
    for project in (1, other["id"]):
        server.create_export(bigquery.destination(), interval="realtime", project=project)
    time.sleep(1)
    ids = send(server, None, other["api_token"])
    wait_for(lambda: len(bigquery.rows()) == 8, 20)
    assert sorted((r["team_id"], r["uuid"]) for r in bigquery.rows()) == sorted((t, u) for t in (1, other["id"]) for u in ids)
