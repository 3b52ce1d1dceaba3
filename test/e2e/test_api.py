"""The REST API of the real server: what it refuses, what it answers, what it never says."""

import json
import uuid

import pytest
import requests
from harness import file_destination, wait_for

EXPORTS = "/api/projects/1/batch_exports/"
SECRET = "correct-horse-battery"


def file_body(tmp_path, **more):
    return {"destination": file_destination(tmp_path / "out"), "interval": "hour", **more}


REFUSALS = [
    ("no destination", {"destination": None}, "destination"),
    ("an unknown type", {"destination": {"type": "Moon", "config": {}}}, "destination.type"),
    ("an option that is missing", {"destination": {"type": "File", "config": {}}}, "destination.config.path"),
    ("an option that is none",
     {"destination": {"type": "File", "config": {"path": "/tmp/x", "colour": "red"}}}, "destination.config.colour"),
    ("a choice that is none",
     {"destination": {"type": "File", "config": {"path": "/tmp/x", "compression": "rar"}}},
     "destination.config.compression"),
    ("a frequency that is none", {"interval": "fortnight"}, "interval"),
    ("too often", {"interval": "every 1 seconds"}, "interval"),
    ("a zone that is none", {"interval": "day", "timezone": "Mars/Olympus"}, "timezone"),
    ("an offset where there is none", {"interval": "hour", "offset_hour": 4}, "offset_hour"),
    ("an offset beyond the day", {"interval": "day", "offset_hour": 24}, "offset_hour"),
    ("a naive time", {"start_at": "2026-11-01T00:00:00"}, "start_at"),
    ("an end before the start", {"start_at": "2026-11-02T00:00:00Z", "end_at": "2026-11-01T00:00:00Z"}, "end_at"),
    ("a model that is none", {"model": "dragons"}, "model"),
    ("a column that is none", {"columns": ["uuid", "colour"]}, "columns"),
    ("a filter that is none", {"filters": [{"key": "a", "operator": "smells", "value": 1, "type": "event"}]}, "filters"),
    ("a regular expression that is none",
     {"filters": [{"key": "a", "operator": "regex", "value": "(", "type": "event"}]}, "filters"),
    ("a misspelt field", {"intervall": "hour"}, "intervall"),
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    from harness import Server
    it = Server(tmp_path_factory.mktemp("shared") / "data").start()
    yield it
    assert it.stop() == 0
    it.check_clean()


@pytest.mark.parametrize("name,change,attr", REFUSALS, ids=[r[0] for r in REFUSALS])
def test_refuses(shared, tmp_path, name, change, attr):
    body = {k: v for k, v in file_body(tmp_path, **change).items() if v is not None}
    answer = shared.api("POST", EXPORTS, body, expect=400)
    assert answer["type"] == "validation_error"
    assert answer["attr"] is not None and answer["attr"].startswith(attr), answer
    assert answer["detail"] and set(answer) >= {"type", "code", "detail", "attr", "hint"}


@pytest.mark.parametrize("token", ["", "wrong", "phc_x"])
def test_needs_a_token(shared, token):
    for method, path in (("GET", "/api/projects/"), ("POST", EXPORTS), ("GET", "/api/nothing/")):
        answer = shared.api(method, path, expect=401, token=token)
        assert answer["type"] == "authentication_error"
    answer = requests.get(shared.url + "/api/projects/", timeout=10)
    assert answer.status_code == 401 and "WWW-Authenticate" in answer.headers
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_the_capture_token_is_no_api_token(shared):
    shared.api("GET", "/api/projects/", expect=401, token=shared.capture_token())


def test_addresses_that_are_none(shared):
    nil = str(uuid.uuid4())
    for path in ("/api/projects/99/batch_exports/", f"{EXPORTS}{nil}/", f"{EXPORTS}{nil}/runs/", f"{EXPORTS}none/",
                 f"{EXPORTS}{nil}/backfills/{nil}/", "/api/projects/1/x/", "/api/projects/x/"):
        assert shared.api("GET", path, expect=404)["code"] == "not_found"
    answer = requests.delete(shared.url + EXPORTS, timeout=10,
                             headers={"Authorization": f"Bearer {shared.owner_token}"})
    assert answer.status_code == 405 and answer.headers["Allow"] == "GET, POST"


@pytest.mark.parametrize("raw", [b"{", b"[]", b"\xff\xfe", b'{"a":1,"a":2}', b"null", b"[" * 5000])
def test_bodies_that_are_none(shared, raw):
    answer = requests.post(shared.url + EXPORTS, data=raw, timeout=10,
                           headers={"Authorization": f"Bearer {shared.owner_token}"})
    assert answer.status_code == 400 and answer.json()["code"] == "parse_error"


def test_environments_and_missing_slashes(shared, tmp_path):
    made = shared.api("POST", "/api/environments/1/batch_exports", file_body(tmp_path))
    assert shared.api("GET", f"/api/environments/1/batch_exports/{made['id']}")["id"] == made["id"]
    head = requests.head(shared.url + EXPORTS, timeout=10, headers={"Authorization": f"Bearer {shared.owner_token}"})
    assert head.status_code == 200 and head.content == b""


def test_the_life_of_an_export(shared, tmp_path):
    made = shared.api("POST", EXPORTS, file_body(tmp_path, name="one"), expect=201)
    path = f"{EXPORTS}{made['id']}/"
    assert made["paused"] is False and made["latest_runs"] == [] and made["destination"]["type"] == "File"
    assert made["id"] in [e["id"] for e in shared.api("GET", EXPORTS)["results"]]

    changed = shared.api("PATCH", path, {"interval": "every 5 minutes", "destination": {"config": {"compression": "gzip"}}})
    assert changed["interval"] == "every 5 minutes" and changed["name"] == "one"
    assert changed["destination"]["config"]["compression"] == "gzip"
    assert changed["destination"]["config"]["path"] == str(tmp_path / "out")
    shared.api("PUT", path, changed)
    shared.api("PATCH", path, {"destination": {"type": "Postgres"}}, expect=400)

    assert shared.api("POST", path + "pause/") == {"paused": True}
    assert shared.api("POST", path + "pause/") == {"paused": True}
    assert shared.api("GET", path)["last_paused_at"]
    assert shared.api("POST", path + "unpause/", {"backfill": True}) == {"paused": False}

    assert any("created" in line["message"] for line in shared.api("GET", path + "logs/")["results"])
    shared.api("DELETE", path, expect=204)
    shared.api("DELETE", path, expect=204)
    shared.api("GET", path, expect=404)
    assert made["id"] not in [e["id"] for e in shared.api("GET", EXPORTS)["results"]]


def test_projects_have_tokens_of_their_own(shared):
    made = shared.api("POST", "/api/projects/", {"name": "second", "capture_token": "phc_second"}, expect=201)
    shared.api("POST", "/api/projects/", {"name": "third", "capture_token": "phc_second"}, expect=409)
    shared.api("POST", "/api/projects/", {"name": ""}, expect=400)
    event = {"event": "e", "distinct_id": "d"}
    assert shared.capture([event], token="phc_second").status_code == 200
    assert shared.capture([event], token="phc_nobody").status_code == 401
    assert made["id"] in [p["id"] for p in shared.api("GET", "/api/projects/")["results"]]


def test_an_export_into_the_data_folder_is_refused(shared, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(shared.data)
    for path in (shared.data, shared.data / "store" / "new", link / "exports"):
        told = shared.api("POST", EXPORTS, {"destination": file_destination(path), "interval": "hour"}, expect=400)
        assert told["attr"] == "destination.config.path" and "data folder" in told["detail"], told


def test_nothing_is_written_before_the_marker_is_there(shared, tmp_path):
    folder = tmp_path / "mnt"
    folder.mkdir()
    body = {"step": 1, "destination": file_destination(folder, marker=".mounted")}
    step = shared.api("POST", EXPORTS + "run_test_step_new/", body)
    assert step["status"] == "Failed" and ".mounted" in step["message"] and not list(folder.iterdir())
    (folder / ".mounted").touch()
    assert shared.api("POST", EXPORTS + "run_test_step_new/", body)["status"] == "Passed"


def test_destinations_describe_themselves(shared):
    types = {d["type"]: d for d in shared.api("GET", "/api/destinations/")["results"]}
    assert {"Postgres", "File"} <= set(types)
    assert "path" in types["File"]["schema"]["properties"]
    assert "password" in types["Postgres"]["schema"]["properties"]
    for name, kind in types.items():
        steps = shared.api("GET", f"{EXPORTS}test/", params={"destination": name})["steps"] if kind["tests"] else []
        assert len(steps) == len(kind["tests"])


def test_steps_of_a_place_that_does_not_answer(shared):
    body = {"step": 0, "destination": {"type": "Postgres", "config": {
        "host": "127.0.0.1", "port": 1, "user": "u", "password": SECRET, "database": "d", "sslmode": "disable"}}}
    step = shared.api("POST", EXPORTS + "run_test_step_new/", body)
    assert step["status"] == "Failed" and step["message"]
    assert SECRET not in json.dumps(step)
    del body["step"]
    answer = shared.api("POST", EXPORTS, {**body, "test": True}, expect=400)
    assert answer["code"] == "test_failed" and SECRET not in json.dumps(answer)


def test_secrets_are_in_no_answer_no_log_and_no_file(server):
    config = {"host": "127.0.0.1", "port": 1, "user": "loader", "password": SECRET, "database": "d",
              "schema": "public", "table_name": "events", "sslmode": "disable"}
    made = server.create_export({"type": "Postgres", "config": config})
    path = f"{EXPORTS}{made['id']}/"
    assert server.capture([{"event": "e", "distinct_id": "d"}]).status_code == 200
    wait_for(lambda: any(r["latest_error"] for r in server.runs(made)), 40)
    answers = [made, server.api("GET", path), server.api("GET", EXPORTS), server.api("PATCH", path, {"name": "x"}),
               server.runs(made), server.api("GET", path + "logs/"), server.api("GET", "/api/status/"),
               server.api("POST", path + "run_test_step/", {"step": 0}), server.cli("export", "show", made["id"])]
    assert SECRET not in json.dumps(answers)
    assert "password" not in server.api("GET", path)["destination"]["config"]
    assert server.stop() == 0
    assert SECRET not in server.log_path.read_text(errors="replace")
    for file in server.data.rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file


def test_backfills_say_what_is_wrong(shared, tmp_path):
    made = shared.api("POST", EXPORTS, file_body(tmp_path, interval="day"))
    path = f"{EXPORTS}{made['id']}/backfills/"
    for body, attr in (({}, "start_at"), ({"start_at": "2026-01-01T00:00:00"}, "start_at"),
                       ({"start_at": "2026-01-02T00:00:00Z", "end_at": "2026-01-01T00:00:00Z"}, "end_at"),
                       ({"start_at": "2026-01-02T00:00:00Z", "end_at": "2999-01-01T00:00:00Z"}, "end_at"),
                       ({"start_at": "2026-01-02", "end_at": "2026-01-03", "parallel": 0}, "parallel"),
                       ({"start_at": "2026-01-02", "end_at": "2026-01-03", "on_delivered": "x"}, "on_delivered")):
        assert shared.api("POST", path, body, expect=400)["attr"] == attr, body


def test_run_pages_are_links_that_work(make_server, tmp_path):
    server = make_server("--quiet", "0")
    made = server.create_export(file_destination(tmp_path / "out"))
    wait_for(lambda: len(server.runs(made)) >= 3, 60, 0.5)
    headers = {"Authorization": f"Bearer {server.owner_token}"}
    server.api("POST", f"{EXPORTS}{made['id']}/pause/")
    want = [r["id"] for r in server.runs(made)]
    url, got = f"{server.url}{EXPORTS}{made['id']}/runs/?limit=2", []
    while url:
        page = requests.get(url, headers=headers, timeout=10).json()
        got += [r["id"] for r in page["results"]]
        url = page["next"]
    assert got == want
    assert requests.get(page["previous"], headers=headers, timeout=10).json()["results"][-1]["id"] == want[len(want) - len(page["results"]) - 1]


def test_waiting_requests_are_bounded_together(make_server):
    """While the only worker is busy, bodies that wait for it are charged to the budget, whoever sends them."""
    import concurrent.futures
    import os
    import socket
    import threading
    asan = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    server = make_server("--body-budget", "4MiB", "--api-workers", "1", env={"ASAN_OPTIONS": asan})
    before = server.rss_bytes()

    def send(_):
        return requests.post(server.url + "/api/projects/", data=b'{"name":"' + b"x" * 900_000 + b'"}', timeout=60,
                             headers={"Authorization": "Bearer nobody"}).status_code

    with socket.create_server(("127.0.0.1", 0)) as mute:
        body = {"step": 0, "destination": {"type": "Postgres", "config": {
            "host": "127.0.0.1", "port": mute.getsockname()[1], "user": "u", "password": "p", "database": "d",
            "sslmode": "disable"}}}
        busy = threading.Thread(target=lambda: server.api("POST", EXPORTS + "run_test_step_new/", body))
        busy.start()
        held = mute.accept()[0]
        with concurrent.futures.ThreadPoolExecutor(150) as pool:
            waiting = [pool.submit(send, i) for i in range(150)]
            done, _ = concurrent.futures.wait(waiting, 10)
            peak = server.rss_bytes(peak=True)
            held.close()
            mute.close()
            statuses = {w.result() for w in waiting}
        busy.join()
    assert statuses == {401, 503}
    assert sum(w.result() == 503 for w in done) >= 100
    assert peak - before < 60e6
    server.api("GET", "/api/projects/")
