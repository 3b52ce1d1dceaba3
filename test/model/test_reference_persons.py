"""The reference model of persons on the cases that are easily got wrong."""

import uuid

import pytest
import reference_persons
from history import Event
from rawjson import object_of
from reference_persons import Persons, is_illegal, person_id_of

MINUTE = 60 * 1_000_000
PROJECT = 7


def plain(properties):
    return {name: value for name, value in properties.items() if name != "$creator_event_uuid"}


class Story:
    """A history told line by line, a minute and a half from one event to the next."""

    def __init__(self):
        self.persons = Persons(PROJECT)
        self.now = 0

    def send(self, event, distinct_id, properties="{}", at=None):
        """Returns the event's (person id, person properties), without the event that made the person."""
        self.now += 90 * 1_000_000
        self.uuid = str(uuid.uuid4())
        person_id, found = self.persons.apply(Event(PROJECT, self.uuid, event, distinct_id,
                                                    self.now if at is None else at, self.now, object_of(properties)))
        return person_id, plain(found)

    def delete(self, distinct_id, with_distinct_ids=False):
        self.now += 1
        return self.persons.delete(person_id_of(PROJECT, distinct_id), with_distinct_ids, self.now)

    def row(self, distinct_id):
        row = {row["distinct_id"]: row for row in self.persons.rows()}[distinct_id]
        return {**row, "properties": plain(row["properties"])}

    def versions(self, distinct_id):
        row = self.row(distinct_id)
        return row["person_version"], row["person_distinct_id_version"]

    def owner(self, distinct_id):
        """The distinct id that the person's id was made of."""
        found = self.row(distinct_id)["person_id"]
        return next(d for d in self.persons.mappings if str(person_id_of(PROJECT, d)) == found)


@pytest.fixture
def story():
    return Story()


PERSONLESS = '{"$process_person_profile":false}'


def test_an_id_is_the_uuidv5_of_project_and_distinct_id():
    assert person_id_of(1, "a") == uuid.uuid5(uuid.UUID("932979b4-65c3-4424-8467-0b66ec27bc22"), "1:a")


# -- creation and updates --


def test_a_full_event_makes_a_person(story):
    person_id, properties = story.send("hello", "ann", '{"$set":{"a":1},"$set_once":{"a":2,"b":3},"$browser":"X"}')
    assert person_id == person_id_of(PROJECT, "ann")
    assert list(properties.items()) == [("a", "1"), ("b", "3"), ("$initial_browser", '"X"'), ("$browser", '"X"')]
    row = story.row("ann")
    assert (row["person_version"], row["person_distinct_id_version"]) == (0, 0)
    assert row["created_at"] == row["_inserted_at"] == story.now and not row["is_identified"] and not row["is_deleted"]


def test_set_once_then_set_then_unset(story):
    story.send("hello", "ann", '{"$set":{"a":1,"b":1}}')
    _, properties = story.send("$set", "ann", '{"$set_once":{"a":2,"c":2,"d":2},"$set":{"b":3,"d":3},"$unset":["a","zz",1]}')
    assert list(properties.items()) == [("b", "3"), ("c", "2"), ("d", "3")]
    assert story.versions("ann") == (1, 0)


def test_only_what_was_there_is_unset(story):
    story.send("hello", "ann", '{"$set":{"a":1},"$unset":["a"]}')  # nobody was there yet
    assert story.row("ann")["properties"] == {"a": "1"}
    story.send("hello", "ann", '{"$set":{"a":2,"b":1},"$unset":["a","b"]}')
    assert story.row("ann")["properties"] == {"b": "1"}
    assert story.send("hello", "ann", '{"$set":{"b":2},"$unset":["b"]}')[1] == {"b": "2"}  # the event shows what it set
    assert story.row("ann")["properties"] == {}


def test_a_person_knows_the_event_that_made_it(story):
    story.send("x", "ann", '{"$set":{"$creator_event_uuid":"mine"}}')
    rows = list(story.persons.rows())
    assert rows[0]["properties"] == {"$creator_event_uuid": f'"{story.uuid}"'}
    story.send("$groupidentify", "bob", '{"$set":{"a":1}}')
    assert list(story.persons.rows())[1]["properties"] == {"$creator_event_uuid": f'"{story.uuid}"'}
    story.send("$identify", "cid", '{"$anon_distinct_id":"dan"}')
    assert list(story.persons.rows())[3]["properties"] == {"$creator_event_uuid": f'"{story.uuid}"'}


def test_a_null_is_no_first_value(story):
    """A visit with utm_source alone sends every other campaign parameter as null (PostHog/posthog#74742)."""
    story.send("$pageview", "ann", '{"utm_source":"news","gclid":null}')
    assert story.row("ann")["properties"] == {"$initial_utm_source": '"news"', "utm_source": '"news"', "gclid": "null"}
    story.send("$pageview", "ann", '{"gclid":"G-1","utm_source":null}')
    assert story.row("ann")["properties"] == {"$initial_utm_source": '"news"', "utm_source": "null", "gclid": '"G-1"',
                                              "$initial_gclid": '"G-1"'}


def test_a_stored_null_gives_way_to_the_first_value(story):
    story.send("x", "ann", '{"$set_once":{"$initial_gclid":null,"a":null,"b":null}}')  # a client's own null is kept
    assert story.row("ann")["properties"] == {"$initial_gclid": "null", "a": "null", "b": "null"}
    story.send("x", "ann", '{"gclid":"G-1","$set_once":{"a":1,"b":null}}')
    assert story.row("ann")["properties"] == {"$initial_gclid": '"G-1"', "a": "1", "b": "null", "gclid": '"G-1"'}
    assert story.versions("ann") == (1, 0)


def test_os_name_stands_for_os(story):
    assert story.send("x", "ann", '{"$os_name":"Android","$os_version":"14"}')[1] == {
        "$initial_os": '"Android"', "$initial_os_version": '"14"', "$os": '"Android"', "$os_version": '"14"'}
    _, properties = story.send("x", "bob", '{"$os_name":"iOS","$os":"iPadOS","$set":{"$os_name":"q","a":1},'
                                           '"$set_once":{"$initial_os_name":"q"}}')
    assert properties == {"$initial_os": '"iPadOS"', "a": "1", "$os": '"iPadOS"'}
    assert story.send("x", "cid", '{"$os":null,"$os_name":"iOS"}')[1] == {"$initial_os": '"iOS"', "$os": "null"}
    assert story.send("x", "dan", '{"$os_name":null}')[1] == {"$os": "null"}


def test_unset_may_be_an_object(story):
    story.send("hello", "ann", '{"$set":{"a":1,"b":1}}')
    assert story.send("x", "ann", '{"$unset":{"a":false}}')[1] == {"b": "1"}


def test_what_the_client_wrote_wins_over_what_is_automatic(story):
    _, properties = story.send("x", "ann", '{"$os":"A","$set":{"$os":"B"},"$set_once":{"$initial_os":"C"}}')
    assert properties == {"$initial_os": '"C"', "$os": '"B"'}


def test_a_server_s_os_is_not_the_person_s(story):
    server = '{"$os":"Linux","$os_version":"6","$browser":"B","$is_server":true}'
    assert story.send("x", "ann", server)[1] == {"$initial_browser": '"B"', "$browser": '"B"'}
    _, properties = story.send("x", "bob", '{"$os_name":"Linux","$is_server":true}')
    assert properties == {"$initial_os_name": '"Linux"', "$os_name": '"Linux"'}


@pytest.mark.parametrize("said", ['"$is_server":"true"', '"$is_server":false', '"$lib":"posthog-python"'])
def test_only_is_server_makes_a_server(story, said):
    assert story.send("x", "ann", '{"$os":"Linux",' + said + "}")[1]["$initial_os"] == '"Linux"'


def test_utm_name_is_lifted(story):
    assert story.send("x", "ann", '{"utm_name":"n"}')[1] == {"$initial_utm_name": '"n"', "utm_name": '"n"'}


def test_values_are_equal_when_their_bytes_are(story):
    story.send("x", "ann", '{"$set":{"a":1}}')
    story.send("$set", "ann", '{"$set":{"a":1}}')
    assert story.versions("ann") == (0, 0)
    story.send("$set", "ann", '{"$set":{"a":1.0}}')
    assert story.versions("ann") == (1, 0)


def test_noisy_values_alone_write_nothing_but_travel_with_others(story):
    story.send("x", "ann", '{"$browser":"A","$set":{"$geoip_latitude":1,"$geoip_city_name":"X"}}')
    _, properties = story.send("x", "ann", '{"$browser":"B","$set":{"$geoip_latitude":2}}')
    assert story.row("ann")["properties"]["$browser"] == '"A"' and story.versions("ann") == (0, 0)
    assert properties["$browser"] == '"B"' and properties["$geoip_latitude"] == "2"  # the event shows what it set
    _, properties = story.send("x", "ann", '{"$browser":"C","$set":{"$geoip_city_name":"Y"}}')
    assert properties["$browser"] == '"C"' and story.versions("ann") == (1, 0)


@pytest.mark.parametrize("name", ["$geoip_country_code", "$geoip_continent_code", "$geoip_continent_name", "$app_version"])
def test_a_country_is_no_noise(story, name):
    story.send("x", "ann", f'{{"$set":{{"{name}":"A"}}}}')
    story.send("x", "ann", f'{{"$set":{{"{name}":"B"}}}}')
    assert story.versions("ann") == (1, 0)


def test_a_noisy_name_that_is_new_is_written(story):
    story.send("x", "ann")
    story.send("x", "ann", '{"$browser":"A"}')
    assert story.versions("ann") == (1, 0)


def test_person_events_write_noisy_values(story):
    story.send("x", "ann", '{"$browser":"A"}')
    story.send("$set", "ann", '{"$browser":"B"}')
    assert story.row("ann")["properties"]["$browser"] == '"B"'


def test_exceptions_make_persons_but_do_not_change_them(story):
    story.send("$exception", "ann", '{"$set":{"a":1}}')
    assert story.send("$exception", "ann", '{"$set":{"a":2},"$unset":["a"]}')[1] == {"a": "2"}
    assert story.row("ann")["properties"] == {"a": "1"} and story.versions("ann") == (0, 0)


def test_a_groupidentify_sets_nothing_on_the_person(story):
    story.send("$groupidentify", "ann", '{"$set":{"a":1},"$browser":"B"}')
    assert story.row("ann")["properties"] == {}


def test_odd_sets_are_nothing(story):
    assert story.send("x", "ann", '{"$set":"a","$set_once":[1],"$unset":"a"}')[1] == {}


# -- personless --


def test_a_personless_event_makes_no_person(story):
    assert story.send("x", "ann", '{"$process_person_profile":false,"$set":{"a":1}}') == (person_id_of(PROJECT, "ann"), {})
    assert list(story.persons.rows()) == []


@pytest.mark.parametrize("flag", ["true", "null", '"false"', "0"])
def test_only_false_is_personless(story, flag):
    story.send("x", "ann", f'{{"$process_person_profile":{flag}}}')
    assert len(list(story.persons.rows())) == 1


def test_a_personless_event_belongs_to_the_person_there_is(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon","$set":{"a":1}}')
    person_id, properties = story.send("x", "anon", PERSONLESS[:-1] + ',"$set":{"a":2}}')
    assert (person_id, properties) == (person_id_of(PROJECT, "ann"), {})
    assert story.row("ann")["properties"] == {"a": "1"}


def test_a_flag_that_was_asked_for_makes_nobody(story):
    assert story.send("$feature_flag_called", "ann", '{"$set":{"a":1}}') == (person_id_of(PROJECT, "ann"), {})
    assert list(story.persons.rows()) == []
    story.send("x", "bob")
    story.send("$identify", "bob", '{"$anon_distinct_id":"ann"}')
    assert story.versions("ann") == (1, 1)  # it was used without a person
    assert story.send("$feature_flag_called", "ann", '{"$set":{"a":1}}')[1] == {"a": "1"}  # somebody is there now


@pytest.mark.parametrize("said, makes", [
    ('"$process_person_profile":true', True), ('"$groups":{"company":"acme"}', True), ('"$groups":{}', False),
    ('"$groups":["a"]', False), ('"$process_person_profile":"true"', False)])
def test_a_flag_makes_somebody_who_is_asked_for(story, said, makes):
    story.send("$feature_flag_called", "ann", "{" + said + "}")
    assert bool(list(story.persons.rows())) == makes


def test_a_client_s_own_warning_is_nobody_s(story):
    story.send("$$client_ingestion_warning", "ann")
    assert list(story.persons.rows()) == []


@pytest.mark.parametrize("event", ["$identify", "$create_alias", "$merge_dangerously"])
def test_merging_needs_a_person(story, event):
    story.send(event, "ann", '{"$process_person_profile":false,"$anon_distinct_id":"b","alias":"b"}')
    assert story.persons.warnings == {"invalid_event_when_process_person_profile_is_false": 1}
    assert list(story.persons.rows()) == []


@pytest.mark.parametrize("event, properties, warning", [
    ("$identify", '"$anon_distinct_id":17', "invalid_anon_distinct_id"),
    ("$identify", '"$anon_distinct_id":{}', "invalid_anon_distinct_id"),
    ("$identify", '"alias":true', "invalid_alias"),
    ("$create_alias", '"alias":["b"]', "invalid_alias"),
    ("$merge_dangerously", '"alias":17', "invalid_alias"),
    ("$identify", '"alias":17,"$process_person_profile":false', "invalid_alias")])
def test_what_names_nobody_does_nothing_at_all(story, event, properties, warning):
    """The public server drops such an event."""
    story.send(event, "ann", '{"$set":{"a":1},' + properties + "}")
    assert list(story.persons.rows()) == [] and story.persons.warnings == {warning: 1}


def test_a_group_s_name_that_is_too_long_makes_nobody(story):
    story.send("$groupidentify", "ann", '{"$group_type":"t","$group_key":"' + "k" * 401 + '"}')
    assert list(story.persons.rows()) == []


def test_an_id_in_another_case_is_somebody_else(story):
    story.send("x", "Ann@x.example")
    assert not story.persons.warnings
    story.send("x", "bob@x.example")
    story.send("x", "Bob@x.example")
    assert story.persons.warnings == {"distinct_id_case_collision": 1}


def test_a_distinct_id_used_without_a_person_is_told_by_its_version(story):
    story.send("x", "anon", PERSONLESS)
    story.send("x", "ann")
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    assert story.owner("anon") == "ann" and story.versions("anon") == (1, 1)


def test_the_person_takes_the_id_that_was_used(story):
    story.send("x", "anon", PERSONLESS)
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    assert story.owner("ann") == "anon" and story.versions("ann") == (0, 0) == story.versions("anon")


def test_when_both_were_used_the_target_s_is_taken(story):
    story.send("x", "anon", PERSONLESS)
    story.send("x", "ann", PERSONLESS)
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    assert story.owner("ann") == "ann" and story.versions("ann") == (0, 0) and story.versions("anon") == (0, 1)


# -- merges --


def test_two_new_ids_are_one_identified_person(story):
    story.send("$create_alias", "ann", '{"alias":"bob","$set":{"a":1}}')
    assert story.owner("bob") == story.owner("ann") == "ann"
    assert story.row("bob")["is_identified"] and story.versions("bob") == (0, 0)
    assert story.row("bob")["properties"] == {"a": "1"}


def test_a_new_id_joins_the_person_there_is(story):
    story.send("x", "anon", '{"$set":{"a":1}}')
    person_id, properties = story.send("$identify", "ann", '{"$anon_distinct_id":"anon","$set":{"a":2}}')
    assert person_id == person_id_of(PROJECT, "anon") and properties == {"a": "2"}
    assert story.versions("ann") == (1, 0)  # one step for is_identified and the property
    story.send("$identify", "third", '{"$anon_distinct_id":"anon"}')
    assert story.versions("third") == (1, 0)  # a mapping alone changes no person


def test_two_persons_become_one(story):
    story.send("x", "anon", '{"$set":{"a":1,"b":1}}', at=1000)
    story.send("x", "anon", '{"$set":{"c":1}}', at=1000)
    story.send("x", "ann", '{"$set":{"b":2,"d":2}}', at=2000)
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon","$set":{"e":3},"$set_once":{"a":9}}')
    row = story.row("ann")
    assert list(row["properties"].items()) == [("a", "1"), ("b", "2"), ("c", "1"), ("d", "2"), ("e", "3")]
    assert row["created_at"] == 1000 and row["is_identified"]
    assert story.versions("ann") == (2, 0) and story.versions("anon") == (2, 1)
    assert story.owner("anon") == "ann"


def test_every_id_of_the_source_moves(story):
    story.send("$create_alias", "a1", '{"alias":"a2"}')
    story.send("x", "b")
    story.send("$merge_dangerously", "b", '{"alias":"a2"}')
    assert [story.owner(d) for d in ("a1", "a2", "b")] == ["b", "b", "b"]
    assert [story.versions(d)[1] for d in ("a1", "a2", "b")] == [1, 1, 0]


def test_an_identified_person_is_not_merged_away(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    story.send("x", "bob")
    person_id, properties = story.send("$identify", "bob", '{"$anon_distinct_id":"anon","$set":{"a":1}}')
    assert person_id == person_id_of(PROJECT, "bob") and properties == {"a": "1"}
    assert story.persons.warnings == {"cannot_merge_already_identified": 1}
    assert story.row("bob")["is_identified"] and story.versions("bob") == (1, 0)  # that bob is somebody is told all the same
    story.send("$merge_dangerously", "bob", '{"alias":"anon"}')
    assert story.owner("ann") == story.owner("anon") == "bob"


def test_an_identified_target_takes_others(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    story.send("x", "phone")
    story.send("$identify", "ann", '{"$anon_distinct_id":"phone"}')
    assert story.owner("phone") == "ann" and story.versions("phone") == (1, 1)


def test_merging_a_person_with_itself_changes_nothing(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    story.send("$identify", "ann", '{"$anon_distinct_id":"ann"}')
    assert story.versions("ann") == (0, 0) == story.versions("anon")


@pytest.mark.parametrize("value, source", [
    ("null", None), ('""', None), ('"x"', "x"), ('"' + "w" * 400 + '"', "w" * 400), ('"' + "w" * 401 + '"', None),
    ('"a\\u0000b"', None), ('" "', None)])
def test_what_an_alias_may_be(story, value, source):
    story.send("$create_alias", "ann", f'{{"alias":{value}}}')
    assert set(story.persons.mappings) == {"ann"} | ({source} if source else set())
    assert bool(story.persons.warnings) == (source is None and value not in ("null", '""'))


def test_no_other_id_is_an_illegal_one_in_an_identify(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":null}')
    story.send("$identify", "ann", '{"$anon_distinct_id":""}')
    assert story.persons.warnings == {"cannot_merge_with_illegal_distinct_id": 2}
    story.send("$identify", "ann")
    assert story.persons.warnings.total() == 2


@pytest.mark.parametrize("distinct_id, illegal", [
    ("anonymous", True), ("ANONYMOUS", True), ("'Guest'", True), ('"id"', True), ("null", True), ("NULL", False),
    ('"null"', True), ("[object Object]", True), ("[object object]", False), ("NaN", True), ("nan", False), ("0", True),
    ("'0'", True), ("00", False), ("", True), (" \t\n", True), ("' '", False), ("ann", False), ("'id", False), ("none", True),
    ("NONE", False), ("true", True), ("'", False)])
def test_illegal_ids(distinct_id, illegal):
    assert is_illegal(distinct_id) == illegal


def test_an_illegal_id_is_not_merged_but_the_event_counts(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"null","$set":{"a":1}}')
    story.send("$identify", "undefined", '{"$anon_distinct_id":"null"}')
    assert story.persons.warnings == {"cannot_merge_with_illegal_distinct_id": 2}
    assert set(story.persons.mappings) == {"ann", "undefined"} and story.row("ann")["properties"] == {"a": "1"}


# -- deletion --


def test_a_deleted_person_is_exported_so(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon","$set":{"a":1}}')
    assert story.delete("ann")
    for distinct_id in ("ann", "anon"):
        row = story.row(distinct_id)
        assert row["is_deleted"] and row["properties"] == {} and row["_inserted_at"] == story.now
        assert story.versions(distinct_id) == (100, 0)
    assert not story.delete("ann") and not story.delete("nobody")


def test_a_recreated_person_starts_above_its_tombstone(story):
    story.send("x", "ann", '{"$set":{"a":1}}')
    story.delete("ann")
    story.send("x", "ann", '{"$set":{"b":1}}')
    row = story.row("ann")
    assert row["properties"] == {"b": "1"} and not row["is_deleted"] and row["created_at"] == story.now
    assert story.versions("ann") == (101, 0)  # the mapping did not change


def test_another_id_of_a_deleted_person_makes_a_person_of_its_own(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    story.delete("ann")
    story.send("x", "anon")
    assert story.owner("anon") == "anon" and story.versions("anon") == (0, 1)
    assert story.row("ann")["is_deleted"]


def test_ids_that_stayed_come_back_with_their_person(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    story.delete("ann")
    story.send("x", "ann")
    assert story.owner("anon") == "ann" and not story.row("anon")["is_deleted"] and story.versions("anon") == (101, 0)


def test_deleted_ids_come_back_above_their_old_version(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    story.delete("ann", with_distinct_ids=True)
    assert story.versions("anon") == (100, 100)
    story.send("x", "ann")
    assert story.versions("ann") == (101, 101)
    assert story.row("anon")["is_deleted"]  # it was let go, and stays so
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    assert story.versions("anon") == (102, 101) and not story.row("anon")["is_deleted"]


def test_a_person_merged_away_comes_back_above_its_tombstone(story):
    story.send("x", "anon")
    story.send("x", "ann")
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')  # anon's person: version 100
    story.delete("ann")
    story.send("x", "anon")
    assert story.owner("anon") == "anon" and story.versions("anon") == (101, 2)


def test_personless_events_of_a_deleted_person_have_none(story):
    story.send("$identify", "ann", '{"$anon_distinct_id":"anon"}')
    story.delete("ann")
    assert story.send("x", "anon", PERSONLESS) == (person_id_of(PROJECT, "anon"), {})


def test_versions_never_fall(story):
    story.send("x", "a")
    seen = [story.versions("a")]
    for step in ("delete", "x", "merge", "delete all", "x", "merge"):
        if step == "merge":
            story.send("x", "b")
            story.send("$merge_dangerously", "b", '{"alias":"a"}')
        elif step == "x":
            story.send("x", "a")
        else:
            story.delete(story.owner("a"), with_distinct_ids=step == "delete all")
        seen.append(story.versions("a"))
    order = [(mapping, person) for person, mapping in seen]
    assert order == sorted(order) and len(set(order)) == len(order)


# -- size --


def test_the_largest_properties_go_first(story, monkeypatch):
    monkeypatch.setattr(reference_persons, "PROPERTIES_MAX_BYTES", 100)
    monkeypatch.setattr(reference_persons, "PROPERTIES_TRIMMED_BYTES", 60)
    story.send("x", "ann", '{"$set":{"a":"' + "x" * 30 + '","email":"' + "e" * 30 + '","b":"' + "y" * 40 + '"}}')
    assert list(story.row("ann")["properties"]) == ["email"]
    assert story.persons.warnings == {"person_properties_size_violation": 1}


def test_protected_properties_go_when_nothing_else_is_left(story, monkeypatch):
    monkeypatch.setattr(reference_persons, "PROPERTIES_MAX_BYTES", 100)
    monkeypatch.setattr(reference_persons, "PROPERTIES_TRIMMED_BYTES", 60)
    story.send("x", "ann", '{"$set":{"email":"' + "e" * 90 + '","name":"n","a":1}}')
    assert list(story.row("ann")["properties"]) == ["name"]
