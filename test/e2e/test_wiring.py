"""What the program connects when it starts: every part that the API tells of is there."""

import requests


def test_unknown_tokens_are_told_of(server):
    for _ in range(3):
        event = {"api_key": "phc_of_nobody", "event": "e", "distinct_id": "d"}
        assert requests.post(server.url + "/e/", json=event, timeout=10).status_code == 401
    told = server.api("GET", "/api/unknown_tokens/")["results"]
    assert [(t["capture_token"], t["requests"]) for t in told] == [("phc_of_nobody", 3)]


def test_a_new_project_takes_events_at_once(server):
    made = server.api("POST", "/api/projects/", {"name": "second"})
    event = {"event": "e", "distinct_id": "d", "properties": {}}
    assert server.capture([event], token=made["api_token"]).status_code == 200


def test_the_faces_know_the_parts_below(server):
    """Each of these answers only what its own part told it."""
    status = server.api("GET", "/api/status/")
    assert status["organization_id"]
    assert requests.get(server.url + "/_readiness", timeout=10).text.strip() == "ready"
    text = requests.get(server.url + "/metrics", timeout=10).text
    for name in ("tailrace_http_connections_open", "tailrace_events_total", "tailrace_store"):
        assert name in text, name
