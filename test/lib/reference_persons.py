"""What persons come out of a history of events: slow, obvious, and written to be read as the specification.

Events are applied in the order of ingestion. State per project: persons by id, a mapping for each distinct id that
ever belonged to a person, and the distinct ids that were used without one. Nothing is ever forgotten: a deleted
person is a tombstone, a deleted mapping stays as deleted, so that whoever comes after has a higher version.

A person's properties are {name: raw JSON value}; two values are equal when their bytes are.
"""

import collections
import dataclasses
import uuid

from rawjson import elements, kind, members, object_of, quote, string_of, text_of

NAMESPACE = uuid.UUID("932979b4-65c3-4424-8467-0b66ec27bc22")
MINUTE_US = 60 * 1_000_000
PROPERTIES_MAX_BYTES = 655_360
PROPERTIES_TRIMMED_BYTES = 524_288
DISTINCT_ID_MAX = 200  # characters; capture cuts an event's own distinct id there

# A person gets these from any event, as a $set and as a $set_once of $initial_*.
AUTOMATIC = """
$browser $browser_version $device_type $current_url $pathname $os $os_name $os_version $referring_domain $referrer
$screen_height $screen_width $viewport_height $viewport_width $raw_user_agent $app_build $app_name $app_namespace
$app_version utm_source utm_medium utm_campaign utm_content utm_term gclid gad_source gclsrc dclid gbraid wbraid fbclid
msclkid twclid li_fat_id mc_cid igshid ttclid rdt_cid irclid _kx epik qclid sccid
""".split()
# These of them differ from event to event and say little.
NOISY = AUTOMATIC[:AUTOMATIC.index("$app_build")]
INITIAL = {name: "$initial_" + name.removeprefix("$") for name in AUTOMATIC}

# Where these come from, $os is the server's, not the person's.
SERVER_SIDE_LIBS = {"posthog-" + lib for lib in (
    "python node edge server go ruby php java dotnet elixir rs rust perl convex-node").split()}
SERVER_SIDE_EXEMPT = {"$os", "$os_name", "$os_version"}

# These write a person for any difference; other events not for changed values of noisy properties alone.
PERSON_EVENTS = {"$identify", "$create_alias", "$merge_dangerously", "$set"}
# These never change a person that exists.
NO_UPDATE_EVENTS = {"$exception", "$$heatmap"}
# These need a person, and are no more than any other event when they say there is none.
FULL_ONLY_EVENTS = {"$identify", "$create_alias", "$merge_dangerously", "$groupidentify"}

PROTECTED = {"email", "name", *AUTOMATIC, *INITIAL.values()}

ILLEGAL_ANY_CASE = "anonymous guest distinctid distinct_id id not_authenticated email undefined true false".split()
ILLEGAL_AS_WRITTEN = ["[object Object]", "NaN", "None", "none", "null", "0", "undefined"]


def is_noisy(name):
    if name.startswith("$geoip_"):
        return name not in ("$geoip_country_name", "$geoip_city_name")
    return name in NOISY


def is_illegal(distinct_id):
    """Ids that many people share by mistake: merging them would make one person of all. Blank, or one of the lists,
    as it stands or in quotes."""
    if distinct_id.strip(" \t\n\v\f\r") == "":
        return True
    forms = [distinct_id]
    if len(distinct_id) >= 2 and distinct_id[0] == distinct_id[-1] and distinct_id[0] in "'\"":
        forms.append(distinct_id[1:-1])
    return any(ascii_lower(form) in ILLEGAL_ANY_CASE or form in ILLEGAL_AS_WRITTEN for form in forms)


def ascii_lower(text):
    return "".join(c.lower() if "A" <= c <= "Z" else c for c in text)


def person_id_of(project, distinct_id):
    return uuid.uuid5(NAMESPACE, f"{project}:{distinct_id}")


@dataclasses.dataclass
class Person:
    id: uuid.UUID
    version: int
    created_at: int
    is_identified: bool
    properties: dict
    changed_at: int
    is_deleted: bool = False


@dataclasses.dataclass
class Mapping:
    person_id: uuid.UUID
    version: int
    changed_at: int
    is_deleted: bool = False


# ---- what an event says about persons ----


def is_personless(event):
    return event.properties.get("$process_person_profile") == "false"


def merge_source(event):
    """The other distinct id of a merge into the event's own, or None."""
    if event.event == "$identify":
        other = text_of(event.properties.get("$anon_distinct_id"))
    elif event.event in ("$create_alias", "$merge_dangerously"):
        other = text_of(event.properties.get("alias"))
    else:
        other = None
    return None if other is None else other[:DISTINCT_ID_MAX]


def unset_names(event):
    """$unset is a list of names, or an object whose keys they are."""
    raw = event.properties.get("$unset", "null")
    if kind(raw) == "array":
        return [string_of(name) for name in elements(raw) if kind(name) == "string"]
    return [name for name, _, _ in members(raw)] if kind(raw) == "object" else []


def automatic_properties(event):
    exempt = SERVER_SIDE_EXEMPT if text_of(event.properties.get("$lib")) in SERVER_SIDE_LIBS else ()
    return {name: event.properties[name] for name in AUTOMATIC if name in event.properties and name not in exempt}


def updated(properties, event):
    """Properties after the event's own: $set_once, then $set, then $unset; of each what the client wrote before what is
    automatic. Names that are new stand at the end, in that order."""
    if event.event == "$groupidentify":
        return dict(properties)
    new = dict(properties)
    automatic = automatic_properties(event)
    set_once = object_of(event.properties.get("$set_once"))
    for name, value in automatic.items():
        set_once.setdefault(INITIAL[name], value)
    set_always = object_of(event.properties.get("$set"))
    for name, value in automatic.items():
        set_always.setdefault(name, value)

    for name, value in set_once.items():
        new.setdefault(name, value)
    new.update(set_always)
    for name in unset_names(event):
        new.pop(name, None)
    return new


def properties_bytes(properties):
    """Bytes of the properties as a JSON object without blanks."""
    return len(("{" + ",".join(f"{quote(name)}:{value}" for name, value in properties.items()) + "}").encode())


def trimmed(properties):
    """Without the largest members, until few enough bytes are left; protected names go only when nothing else does. Of
    equally large ones the first goes first."""
    left = dict(properties)
    by_size = sorted(properties, key=lambda name: len(f"{quote(name)}:{properties[name]}".encode()), reverse=True)
    for name in sorted(by_size, key=lambda name: name in PROTECTED):
        if properties_bytes(left) > PROPERTIES_TRIMMED_BYTES:
            del left[name]
    return left


def limited(properties, warning, warnings):
    if properties_bytes(properties) <= PROPERTIES_MAX_BYTES:
        return properties
    warnings[warning] += 1
    return trimmed(properties)


def is_worth_writing(event, old, new):
    """Some event types write any difference; the others not when all that differs are noisy values."""
    different = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    if event.event in PERSON_EVENTS:
        return bool(different)
    return any(name not in old or name not in new or not is_noisy(name) for name in different)


# ---- the state ----


class Persons:
    """The persons of one project."""

    def __init__(self, project):
        self.project = project
        self.persons = {}
        self.mappings = {}
        self.used_personless = set()
        self.warnings = collections.Counter()

    def living(self, distinct_id):
        """The person that the distinct id belongs to now, or None."""
        mapping = self.mappings.get(distinct_id)
        if mapping is None or mapping.is_deleted or self.persons[mapping.person_id].is_deleted:
            return None
        return self.persons[mapping.person_id]

    def was_personless(self, distinct_id):
        """Events without a person have used it, and nothing else has."""
        return distinct_id in self.used_personless and distinct_id not in self.mappings

    # -- events: each returns (person id, person properties) of the event's row --

    def apply(self, event):
        if is_personless(event):
            return self.apply_personless(event)
        source, target = merge_source(event), event.distinct_id
        if source is not None and source != target:
            if not is_illegal(source) and not is_illegal(target):
                return self.seen(self.merge(event, source, target))
            self.warnings["cannot_merge_with_illegal_distinct_id"] += 1
        person = self.living(target)
        if person is None:
            return self.seen(self.create(event, target, is_identified=False))
        return self.seen(self.write(person, event))

    @staticmethod
    def seen(person):
        return person.id, dict(person.properties)

    def apply_personless(self, event):
        """Changes no person. The event belongs to the person that its distinct id has; but only one that is over a
        minute older than the event lends it properties. Without a person it gets the id that one would have."""
        if event.event in FULL_ONLY_EVENTS:
            self.warnings["invalid_event_when_process_person_profile_is_false"] += 1
        person = self.living(event.distinct_id)
        if person is None:
            if event.distinct_id not in self.mappings:
                self.used_personless.add(event.distinct_id)
            return person_id_of(self.project, event.distinct_id), {}
        is_older = person.created_at + MINUTE_US < event.timestamp
        return person.id, dict(person.properties) if is_older else {}

    def merge(self, event, source, target):
        """Makes one person of both distinct ids, where that is allowed."""
        old, person = self.living(source), self.living(target)
        if old is None and person is None:
            # The id that earlier events carry is kept, if only one of the two was used.
            swap = self.was_personless(source) and not self.was_personless(target)
            first, second = (source, target) if swap else (target, source)
            person = self.create(event, first, is_identified=True)
            self.attach(second, person, event.inserted_at)
            return person
        if old is None or person is None:
            person, other = (person, source) if old is None else (old, target)
            self.attach(other, person, event.inserted_at)
            return self.write(person, event, identify=True)
        if old is person:
            return self.write(person, event)
        if old.is_identified and event.event != "$merge_dangerously":
            self.warnings["cannot_merge_already_identified"] += 1
            return self.write(person, event)
        return self.absorb(event, old, person)

    def absorb(self, event, old, person):
        """old goes up in person, together with what the event sets: one step of the version."""
        person.properties = self.limited(updated({**old.properties, **person.properties}, event))
        person.created_at = min(old.created_at, person.created_at)
        person.is_identified = True
        person.version = max(old.version, person.version) + 1
        person.changed_at = event.inserted_at
        for mapping in self.mappings.values():
            if mapping.person_id == old.id and not mapping.is_deleted:
                mapping.person_id = person.id
                mapping.version += 1
                mapping.changed_at = event.inserted_at
        self.bury(old, event.inserted_at)
        return person

    # -- changes --

    def create(self, event, distinct_id, is_identified):
        """A new person for the distinct id; above its tombstone, if it had been there."""
        person_id = person_id_of(self.project, distinct_id)
        tombstone = self.persons.get(person_id)
        assert tombstone is None or tombstone.is_deleted
        person = self.persons[person_id] = Person(
            id=person_id, version=0 if tombstone is None else tombstone.version + 1, created_at=event.timestamp,
            is_identified=is_identified, properties=self.limited(updated({}, event)), changed_at=event.inserted_at)
        self.attach(distinct_id, person, event.inserted_at)
        return person

    def attach(self, distinct_id, person, now):
        """The distinct id belongs to the person from now on. Its version rises above any earlier mapping's, and above 0
        when events went out with another person's id before."""
        mapping = self.mappings.get(distinct_id)
        if mapping is None:
            had_other_id = distinct_id in self.used_personless and person.id != person_id_of(self.project, distinct_id)
            self.mappings[distinct_id] = Mapping(person.id, 1 if had_other_id else 0, now)
        elif mapping.is_deleted or mapping.person_id != person.id:
            self.mappings[distinct_id] = Mapping(person.id, mapping.version + 1, now)

    def write(self, person, event, identify=False):
        """Applies the event's updates to a person that was there; one step of the version, if anything changes."""
        changed = identify and not person.is_identified
        if changed:
            person.is_identified = True
        if event.event not in NO_UPDATE_EVENTS:
            new = updated(person.properties, event)
            if is_worth_writing(event, person.properties, new):
                person.properties = self.limited(new)
                changed = True
        if changed:
            person.version += 1
            person.changed_at = event.inserted_at
        return person

    def limited(self, properties):
        return limited(properties, "person_properties_trimmed", self.warnings)

    @staticmethod
    def bury(person, now):
        person.is_deleted = True
        person.version += 100
        person.properties = {}
        person.changed_at = now

    def delete(self, person_id, with_distinct_ids, now):
        """By a person's wish, through the API. False when there is nobody to delete."""
        person = self.persons.get(person_id)
        if person is None or person.is_deleted:
            return False
        self.bury(person, now)
        for mapping in self.mappings.values():
            if with_distinct_ids and mapping.person_id == person_id and not mapping.is_deleted:
                mapping.is_deleted = True
                mapping.version += 100
                mapping.changed_at = now
        return True

    # -- what is exported --

    def rows(self):
        """One for each distinct id that ever belonged to a person."""
        for distinct_id, mapping in self.mappings.items():
            person = self.persons[mapping.person_id]
            yield {
                "team_id": self.project,
                "distinct_id": distinct_id,
                "person_id": str(person.id),
                "properties": dict(person.properties),
                "person_version": person.version,
                "person_distinct_id_version": mapping.version,
                "created_at": person.created_at,
                "is_deleted": person.is_deleted or mapping.is_deleted,
                "is_identified": person.is_identified,
                "_inserted_at": max(person.changed_at, mapping.changed_at),
            }
