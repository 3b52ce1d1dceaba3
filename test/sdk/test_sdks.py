"""Unmodified SDKs: every event they send arrives once, at the right time, with the right properties."""

import datetime
import json

import pytest
from fault_proxy import FaultProxy
from harness import wait_for


def delivered(warehouse, wanted):
    """The rows of the SDK's events by n, once all of them are there."""
    def all_there():
        if not warehouse.exists():
            return None
        rows = warehouse.query("SELECT uuid, event, distinct_id, properties::text, timestamp, team_id FROM EVENTS"
                               " WHERE properties ? 'n'")
        return rows if len({json.loads(r[3])["n"] for r in rows}) >= wanted else None
    rows = wait_for(all_there, 60, 0.3)
    assert len(rows) == wanted, "copies"
    return {json.loads(row[3])["n"]: row for row in rows}


def check(row, sent):
    uuid, event, distinct_id, properties, timestamp, team_id = row
    if sent["uuid"]:
        assert uuid == sent["uuid"]
    assert event == sent["event"]
    assert distinct_id == sent["distinct_id"]
    assert team_id == 1
    assert '"price": 54.25' in properties
    # Clocks are the same here, so skew correction may move an event by the time the request took.
    off = timestamp - datetime.datetime.fromisoformat(sent["timestamp"].replace("Z", "+00:00")[:26].rstrip("+")
                                                      if len(sent["timestamp"]) < 28 else shorten(sent["timestamp"]))
    assert abs(off.total_seconds()) < 20, f"{timestamp} for {sent['timestamp']}"


def shorten(text):
    """Nanoseconds cut to microseconds, as Python reads them."""
    head, _, rest = text.partition(".")
    digits = rest[:len(rest) - 6] if rest[-6:-5] in "+-" else rest.rstrip("Z")
    zone = rest[-6:] if rest[-6:-5] in "+-" else "+00:00"
    return f"{head}.{digits[:6].ljust(6, '0')}{zone}"


@pytest.mark.threads
def test_every_event_of_a_real_sdk_arrives_once(server, warehouse, sdk):
    server.create_export(warehouse.destination())
    sent = [e for e in sdk.send(server.url, server.capture_token(), 40) if e["n"] is not None]
    assert len(sent) == 40
    rows = delivered(warehouse, 40)
    for event in sent:
        check(rows[event["n"]], event)


FAULTS = {
    "python": ["503", "reset-after", "429", "cut"],
    "node": ["503", "reset-after", "429", "cut"],
    "go": ["503", "reset-after", "429", "503"],
    "browser": ["503", "reset-after", "503"],
}


def test_faults_on_the_way_leave_each_event_once(server, warehouse, sdk):
    """Answers lost, refused and cut; what was stored before is recognised when it comes again."""
    server.create_export(warehouse.destination())
    with FaultProxy(("127.0.0.1", server.port)) as proxy:
        for fault in FAULTS[sdk.name]:
            proxy.script.append(fault)
        sent = [e for e in sdk.send(proxy.url, server.capture_token(), 20, wait_ms=25000, strict=False)
                if e["n"] is not None]
        assert not proxy.script, "the SDK did not send often enough to meet every fault"
    rows = delivered(warehouse, 20)
    for event in sent:
        check(rows[event["n"]], event)
    if "reset-after" in FAULTS[sdk.name]:
        assert server.metric('tailrace_events_total{outcome="duplicate"}') > 0
