"""The reference model of groups on the cases that are easily got wrong."""

import uuid

import pytest
from history import Event
from rawjson import object_of
from reference_groups import Groups


class Story:
    def __init__(self):
        self.groups = Groups(7)
        self.now = 0

    def send(self, event, properties):
        self.now += 1000
        return self.groups.apply(Event(7, str(uuid.uuid4()), event, "ann", self.now - 7, self.now, object_of(properties)))

    def identify(self, type_name, key, group_set="{}"):
        self.send("$groupidentify", f'{{"$group_type":{type_name},"$group_key":{key},"$group_set":{group_set}}}')

    def rows(self):
        return list(self.groups.rows())


@pytest.fixture
def story():
    return Story()


def test_types_are_numbered_as_they_appear(story):
    assert story.send("x", '{"$groups":{"team":"a","company":7}}') == ["a", "7", None, None, None]
    assert story.send("x", '{"$groups":{"company":"b"}}') == [None, "b", None, None, None]
    story.identify('"project"', '"p"')
    assert story.groups.types == ["team", "company", "project"]


def test_a_sixth_type_is_ignored(story):
    story.send("x", '{"$groups":{"a":"1","b":"1","c":"1","d":"1","e":"1","f":"1"}}')
    story.identify('"f"', '"1"')
    assert story.send("x", '{"$groups":{"f":"1","e":"2"}}') == [None, None, None, None, "2"]
    assert story.groups.warnings == {"group_type_limit_exceeded": 3} and story.rows() == []


def test_a_group_comes_to_be_and_changes(story):
    story.send("x", '{"$groups":{"company":"acme"}}')
    assert story.rows() == []
    story.identify('"company"', '"acme"', '{"a":1}')
    row = story.rows()[0]
    assert row == {"team_id": 7, "group_type_index": 0, "group_type": "company", "group_key": "acme",
                   "group_properties": {"a": "1"}, "group_version": 0, "created_at": story.now - 7, "_inserted_at": story.now}
    story.identify('"company"', '"acme"', '{"a":1}')
    assert story.rows()[0]["group_version"] == 0
    story.identify('"company"', '"acme"', '{"a":1.0,"b":{}}')
    assert story.rows()[0]["group_version"] == 1 and story.rows()[0]["group_properties"] == {"a": "1.0", "b": "{}"}
    assert story.rows()[0]["_inserted_at"] == story.now != story.rows()[0]["created_at"] + 7


def test_keys_are_strings_numbers_or_true(story):
    assert story.send("x", '{"$groups":{"b":null,"c":"","d":{},"e":5,"a":true}}') == ["5", "true", None, None, None]
    assert story.groups.types == ["e", "a"]
    assert story.send("x", '{"$groups":["a"]}') == [None] * 5
    story.identify('"x"', "false")
    story.identify('"x"', "0.0")
    story.identify("null", '"x"')
    story.identify('"x"', "null")
    story.identify('""', '"x"')
    assert story.groups.types == ["e", "a"] and not story.groups.warnings and story.rows() == []
    story.identify('"x"', "true")
    assert story.rows()[0]["group_key"] == "true"


def test_long_names_are_ignored_with_a_warning(story):
    story.identify('"' + "t" * 400 + '"', '"' + "k" * 400 + '"')
    assert len(story.rows()) == 1 and not story.groups.warnings
    story.identify('"' + "t" * 401 + '"', '"k"')
    story.identify('"t"', '"' + "k" * 401 + '"')
    story.send("x", '{"$groups":{"t":"' + "k" * 401 + '"}}')
    assert len(story.rows()) == 1 and story.groups.warnings == {"group_key_too_long": 3}
    assert len(story.groups.types) == 1


def test_personless_events_show_no_groups_but_make_them(story):
    assert story.send("x", '{"$process_person_profile":false,"$groups":{"b":"1"}}') == [None] * 5
    story.send("$groupidentify", '{"$process_person_profile":false,"$group_type":"a","$group_key":"1","$group_set":{"p":1}}')
    assert story.rows()[0]["group_properties"] == {"p": "1"} and story.groups.types == ["a"]
    assert story.send("x", '{"$groups":{"a":"1"}}')[0] == "1"
    assert story.send("x", '{"$process_person_profile":false,"$groups":{"a":"1"}}')[0] is None


@pytest.mark.parametrize("value", ["[]", '"x"', "1"])
def test_a_group_set_that_is_no_object_makes_no_group(story, value):
    story.identify('"a"', '"1"', value)
    assert story.rows() == [] and story.groups.warnings == {"invalid_group_set": 1}


def test_the_groups_of_an_event_are_numbered_before_what_it_identifies(story):
    story.send("$groupidentify", '{"$group_type":"a","$group_key":"1","$groups":{"b":"2"}}')
    assert story.groups.types == ["b", "a"]
