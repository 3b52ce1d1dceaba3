"""What SDKs send, through the real binary, up to the rows at a destination."""

import uuid

import requests
from harness import file_destination, rows_in, wait_for


def event(name, **more):
    return {"event": name, "distinct_id": "ada", "uuid": str(uuid.uuid4()), "properties": {}, **more}


def test_two_events_of_one_uuid_are_both_kept_and_both_recognised(server, tmp_path):
    server.create_export(file_destination(tmp_path / "out"))
    first = event("opened")
    other_name, other_person = {**first, "event": "closed"}, {**first, "distinct_id": "bob"}
    for _ in range(2):
        assert server.capture([first, other_name, other_person]).status_code == 200
    server.stop()
    server.start()
    assert server.capture([other_person, first, other_name]).status_code == 200
    last = event("last")
    assert server.capture([last]).status_code == 200
    rows = wait_for(lambda: [r for r in rows_in(tmp_path / "out")
                             if any(x["uuid"] == last["uuid"] for x in rows_in(tmp_path / "out"))], 40)
    kept = [(r["event"], r["distinct_id"]) for r in rows if r["uuid"] != last["uuid"]]
    assert sorted(kept) == [("closed", "ada"), ("opened", "ada"), ("opened", "bob")]
    assert len({r["uuid"] for r in rows}) == 4
    assert [r["uuid"] for r in rows if (r["event"], r["distinct_id"]) == ("opened", "ada")] == [first["uuid"]]
    told = server.api("GET", "/api/projects/1/warnings/")["results"]
    assert "duplicate_event_uuid" in {w["type"] for w in told}


def test_ai_events_come_by_their_own_routes(server, tmp_path):
    server.create_export(file_destination(tmp_path / "out"))
    token = server.capture_token()
    by_batch = [event("$ai_generation", properties={"$ai_input": "x" * (2 << 20)}), event("$ai_span")]
    by_v1 = [event("$ai_trace", timestamp="2026-12-01T00:00:00Z", options={})]
    for path in ("/i/v0/ai/batch", "/i/v0/ai/batch/"):
        answer = requests.post(server.url + path, json={"api_key": token, "batch": by_batch}, timeout=60)
        assert (answer.status_code, answer.json()) == (200, {"status": "Ok"})
    answer = requests.post(server.url + "/i/v1/ai/events", timeout=60, headers={"Authorization": f"Bearer {token}"},
                           json={"created_at": "2026-12-01T00:00:00Z", "batch": by_v1})
    assert answer.json()["results"][by_v1[0]["uuid"]]["result"] == "ok"
    assert server.capture(by_batch).status_code == 413, "elsewhere an event has the usual limit"
    misrouted = requests.post(server.url + "/i/v0/ai/batch", json={"api_key": token, "batch": [event("e")]}, timeout=60)
    assert misrouted.status_code == 400 and "/batch/" in misrouted.text
    wanted = sorted(e["uuid"] for e in by_batch + by_v1)
    assert wait_for(lambda: len(rows_in(tmp_path / "out")) >= 3 and sorted(
        r["uuid"] for r in rows_in(tmp_path / "out")), 40) == wanted
