"""The reference model of sessions on the cases that are easily got wrong; the rest is in the C unit tests, which have the
same rules in a table."""

import uuid

import pytest
from history import Event
from rawjson import object_of
from reference_sessions import Sessions, channel_type, host_of, path_of, session_id_of

SESSION = "0190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1b"


class Story:
    def __init__(self):
        self.sessions = Sessions(7)
        self.now = 0

    def send(self, event, at, properties="{}", who="ann"):
        self.now += 1
        known = object_of(properties)
        known.setdefault("$session_id", f'"{SESSION}"')
        self.sessions.apply(Event(7, str(uuid.uuid4()), event, who, at, self.now, known))

    def row(self):
        return next(self.sessions.rows())


@pytest.fixture
def story():
    return Story()


def test_ties(story):
    story.send("$pageview", 5, '{"$current_url":"https://a.example/1"}', "ann")
    story.send("$pageview", 5, '{"$current_url":"https://a.example/2"}', "bob")
    row = story.row()
    assert (row["entry_pathname"], row["end_pathname"], row["distinct_id"]) == ("/1", "/2", "bob")


def test_page_views_go_before_other_events(story):
    story.send("x", 1, '{"$current_url":"https://a.example/1","gclid":"g"}')
    assert story.row()["entry_pathname"] == "/1" and story.row()["urls"] == []
    story.send("$pageview", 5, '{"$current_url":"https://a.example/5"}')
    story.send("x", 9, '{"$current_url":"https://a.example/9"}')
    row = story.row()
    assert (row["entry_pathname"], row["end_pathname"], row["entry_gclid"]) == ("/5", "/5", "g")
    assert row["urls"] == ["https://a.example/5"] and (row["start_timestamp"], row["end_timestamp"]) == (1, 9)


def test_the_version_is_that_of_the_last_change(story):
    story.send("x", 1)
    story.send("x", 9)
    story.send("x", 5, '{"gclsrc":"x"}')
    assert story.row()["_inserted_at"] == 2
    story.send("x", 6, '{"$current_url":"https://a.example/","gclid":"x"}')
    assert story.row()["_inserted_at"] == 4
    story.send("$autocapture", 5)
    assert story.row()["_inserted_at"] == 5


# What follows was seen on a real ClickHouse: test/model/sessions_chdb.py.


def test_each_column_of_the_entry_has_its_first_value(story):
    story.send("$pageview", 5, '{"utm_source":null,"$current_url":"https://a.example/5"}')
    story.send("x", 1, '{"utm_source":"event","utm_term":"event"}')
    assert (story.row()["entry_utm_source"], story.row()["entry_utm_term"]) == ("event", "event")
    story.send("$pageview", 9, '{"utm_source":"page"}')
    assert (story.row()["entry_utm_source"], story.row()["entry_utm_term"]) == ("page", "event")


def test_an_empty_text_is_a_value(story):
    story.send("$pageview", 1, '{"utm_source":"","$current_url":""}')
    story.send("$pageview", 2, '{"utm_source":"x","$current_url":"https://a.example/"}')
    row = story.row()
    assert (row["entry_utm_source"], row["entry_current_url"]) == ("", "")
    assert row["end_current_url"] == "https://a.example/"


def test_the_channel_and_the_lesser_ad_ids_are_one_event_s(story):
    story.send("$pageview", 1, '{"$referring_domain":"$direct"}')
    story.send("$pageview", 2, '{"utm_medium":"email","gclsrc":"x","msclkid":"m"}')
    row = story.row()
    assert (row["entry_utm_medium"], row["channel_type"], row["entry_gclsrc"], row["entry_msclkid"]) == (
        "email", "Direct", None, None)


def test_a_page_without_an_address_is_not_the_end(story):
    story.send("$pageview", 1, '{"$current_url":"https://a.example/1"}')
    story.send("$pageview", 2, '{"$current_url":null}')
    story.send("x", 3, '{"$current_url":"https://a.example/3"}')
    assert story.row()["end_pathname"] == "/1"


def test_what_is_no_text_is_its_json(story):
    story.send("$pageview", 1, '{"utm_source":["x"],"utm_medium":{"a": 1},"utm_term":54.10,"utm_content":true}')
    row = story.row()
    assert [row[f"entry_utm_{n}"] for n in ("source", "medium", "term", "content")] == ['["x"]', '{"a": 1}', "54.10", "true"]


def test_the_row_has_every_column(story):
    story.send("$pageview", 1)
    assert len(story.row()) == 48


@pytest.mark.parametrize("raw, good", [
    (f'"{SESSION}"', True), (f'"{SESSION.upper()}"', True), (f'"urn:uuid:{SESSION}"', True), (f'"{{{SESSION}}}"', True),
    ('"0190c8e27a5d7f008a1b3c5d7e9f0a1b"', True), ('"0190c8e2-7a5d-4f00-8a1b-3c5d7e9f0a1b"', False), ("7", False),
    ('"0190c8e2-7a5d7f00-8a1b-3c5d7e9f0a1b"', False), ('""', False)])
def test_ids(raw, good):
    found = session_id_of(Event(7, "", "x", "ann", 1, 1, {"$session_id": raw}))
    assert found == (uuid.UUID(SESSION) if good else None)


@pytest.mark.parametrize("url, host, path", [
    ("https://u:p@a.example:80/x?y#z", "a.example", "/x"), ("a.example/x", "a.example", "/x"), ("/x", None, "/x"),
    ("https://a.example?x=/y", "a.example", None), ("http://localhost/x", None, "/x"), ("//a.example/x", "a.example", "/x"),
    ("://a.example/x", None, "//a.example/x"), ("about:blank", None, None)])
def test_addresses(url, host, path):
    assert (host_of(url), path_of(url)) == (host, path)


@pytest.mark.parametrize("entry, want", [
    ({}, "Unknown"), ({"referring_domain": "$direct"}, "Direct"), ({"referring_domain": "www.google.co.uk"}, "Organic Search"),
    ({"gclid": "x", "utm_source": "Facebook"}, "Paid Social"), ({"utm_campaign": "workshop", "utm_medium": "email"}, "Email"),
    ({"utm_campaign": "eshop"}, "Organic Shopping"), ({"utm_medium": "cpc"}, "Paid Unknown"),
    ({"utm_campaign": "a cross-network b", "gclid": "x"}, "Cross Network"), ({"gad_source": "1"}, "Paid Search")])
def test_channels(entry, want):
    names = "utm_source utm_medium utm_campaign referring_domain gclid fbclid gad_source".split()
    assert channel_type({f"entry_{name}": entry.get(name) for name in names}) == want
