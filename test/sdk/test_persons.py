"""Unmodified SDKs tell of people: the tables are as the reference makes them of the raw events, and as a person who wrote
the story expects them."""

import json

from models import Tables, events_of, table


def person_of(rows):
    """Persons by distinct id: (id, properties without the automatic ones, is_identified)."""
    return {row["distinct_id"]: (row["person_id"], {k: v for k, v in row["properties"].items()
                                                    if k in ("plan", "from", "born", "email")}, row["is_identified"])
            for row in rows}


def test_identify_alias_group_and_reset(server, warehouse, tmp_path, sdk):
    tables = Tables(server, warehouse, tmp_path / "out")
    said = sdk.persons(server.url, server.capture_token())
    tables.settle()
    tables.check()
    persons = person_of(table(warehouse, "persons", ["distinct_id", "person_id", "properties", "is_identified"]))
    groups = table(warehouse, "groups", ["group_type", "group_key", "group_properties"])
    events = events_of(tmp_path / "out")
    globals()[f"check_{sdk.name}"](persons, events, *said)
    assert groups == [{"group_type": "company", "group_key": "acme",
                       "group_properties": {"plan": "big", "seats": 5 if sdk.name == "browser" else 6}}]
    of_company = next(e for e in events if json.loads(e["event"]) == "of a company")
    assert json.loads(of_company["$group_0"]) == "acme"
    assert json.loads(of_company["$group_1"]) == (None if sdk.name == "browser" else "blue")


def distinct_id_of(events, n):
    return next(json.loads(e["distinct_id"]) for e in events if json.loads(e["properties"]).get("n") == n)


def check_python(persons, events):
    ann = persons["ann"]
    assert ann[1:] == ({"plan": "paid", "from": "ad", "email": "ann@example.com", "born": 1990}, True)
    assert persons["ann-on-the-phone"] == ann
    assert persons["bob"][1:] == ({"email": "bob@example.com"}, False) and persons["bob"][0] != ann[0]
    assert distinct_id_of(events, 1) not in persons  # personless


def check_node(persons, events):
    ann = persons["ann"]
    assert ann[1:] == ({"plan": "paid", "from": "ad"}, True)
    assert persons["anon-1"] == ann and persons["ann-on-the-phone"] == ann
    assert persons["bob"][1:] == ({"email": "bob@example.com"}, True) and persons["bob"][0] != ann[0]
    looked = next(e for e in events if json.loads(e["event"]) == "looked")
    assert json.loads(looked["person_id"]) == ann[0]  # though nobody knew her then


def check_go(persons, events):
    ann = persons["ann"]
    assert ann[1:] == ({"plan": "paid", "from": "ad"}, True)
    assert persons["ann-on-the-phone"] == ann
    assert persons["bob"][1:] == ({"email": "bob@example.com"}, False) and persons["bob"][0] != ann[0]
    assert "anon-1" not in persons


def check_browser(persons, events, said):
    ann, bob = persons["ann"], persons["bob"]
    assert ann[1:] == ({"plan": "paid", "from": "ad"}, True)
    assert persons[said["first"]] == ann and persons["ann-on-the-phone"] == ann
    assert bob[1:] == ({"plan": "free"}, True)
    assert persons[said["second"]] == bob and bob[0] != ann[0]
