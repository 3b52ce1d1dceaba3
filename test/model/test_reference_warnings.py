"""The reference model of an event's own warnings on the cases that are easily got wrong."""

import uuid

import pytest
from history import Event
from rawjson import object_of
from reference_warnings import warnings_of

DAY_US = 86_400 * 1_000_000
NOW = 20_000 * DAY_US
V4 = "5ac76c9d-1c1f-4f9a-8a43-4a5a4f5d1a5b"
SESSION = '"$session_id":"0190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1b"'


def warned(properties, event="x", event_uuid=None, late_us=0):
    made = event_uuid or str(uuid.UUID(int=NOW // 1000 << 80 | 7 << 76 | 2 << 62))
    return warnings_of(Event(1, made, event, "ann", NOW + late_us, NOW, object_of(properties)))


@pytest.mark.parametrize("properties, types", [
    ("{}", []),
    ("{" + SESSION + ',"$window_id":"w"}', []),
    ('{"$session_id":null}', []),
    ('{"$session_id":"' + V4.upper() + '"}', []),  # a UUID, though it makes no session
    ('{"$session_id":"abc"}', ["invalid_event_session_id"]),
    ('{"$session_id":17}', ["invalid_event_session_id"]),
    ('{"$window_id":"w"}', ["missing_session_id_with_window_id"]),
    ('{"$window_id":"w","$session_id":null}', ["missing_session_id_with_window_id"]),
    ('{"$window_id":"w","$session_id":" "}', ["invalid_event_session_id", "missing_session_id_with_window_id"]),
    ('{"$window_id":" "}', []),
    ('{"$window_id":7}', []),
    ('{"$process_person_profile":true}', []),
    ('{"$process_person_profile":false}', []),
    ('{"$process_person_profile":"false"}', ["invalid_process_person_profile"]),
    ('{"$process_person_profile":null}', ["invalid_process_person_profile"])])
def test_properties(properties, types):
    assert warned(properties) == types


@pytest.mark.parametrize("lib, types", [
    ('"posthog-python"', []), ('"own"', ["event_uuid_not_v7"]), ("1", []), ('""', []), ("null", [])])
def test_other_uuids_are_told_of_unknown_libraries(lib, types):
    assert warned(f'{{"$lib":{lib}}}', event_uuid=V4) == types
    assert warned(f'{{"$lib":{lib}}}') == []


@pytest.mark.parametrize("late_us, types", [
    (3 * DAY_US, []), (3 * DAY_US + 1000, ["event_uuid_timestamp_divergent"]), (-3 * DAY_US, []),
    (-3 * DAY_US - 1000, ["event_uuid_timestamp_divergent"])])
def test_a_uuid_has_the_event_s_time(late_us, types):
    assert warned("{}", late_us=late_us) == types
    assert warned("{}", event_uuid=V4, late_us=late_us) == []


def test_a_client_tells_of_its_own_trouble():
    assert warned("{}", event="$$client_ingestion_warning") == ["client_ingestion_warning"]
