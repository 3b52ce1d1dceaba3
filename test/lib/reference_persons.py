"""What persons come out of a history of events: slow, obvious, and written to be read as the specification.

Events are applied in the order of ingestion. State per project: persons by id, a mapping for each distinct id that
ever belonged to a person, and the distinct ids that were used without one. Nothing is ever forgotten: a deleted
person is a tombstone, a deleted mapping stays as deleted, so that whoever comes after has a higher version.

A person's properties are {name: raw JSON value}; two values are equal when their bytes are.

The rules are those of the public server in autumn 2026 (nodejs/src/ingestion/common/persons and steps of PostHog/posthog).
What it drops after a 200 is kept here as an event without a person: "refused" below.
"""

import collections
import dataclasses
import uuid

from rawjson import elements, kind, members, object_of, quote, string_of, text_of

NAMESPACE = uuid.UUID("932979b4-65c3-4424-8467-0b66ec27bc22")
PROPERTIES_MAX_BYTES = 655_360
PROPERTIES_TRIMMED_BYTES = 524_288
MERGE_ID_MAX = 400  # code points, of the other id of a merge

# A person gets these from any event, as a $set and as a $set_once of $initial_*.
AUTOMATIC = """
$browser $browser_version $device_type $current_url $pathname $os $os_name $os_version $referring_domain $referrer
$screen_height $screen_width $viewport_height $viewport_width $raw_user_agent $app_build $app_name $app_namespace
$app_version utm_source utm_medium utm_campaign utm_content utm_name utm_term gclid gad_source gclsrc dclid gbraid wbraid
fbclid msclkid twclid li_fat_id mc_cid igshid ttclid rdt_cid irclid _kx epik qclid sccid
""".split()
INITIAL = {name: "$initial_" + name.removeprefix("$") for name in AUTOMATIC}
# These differ from event to event and say little.
NOISY = {*AUTOMATIC[:AUTOMATIC.index("$app_build")], *("$geoip_" + name for name in """
postal_code time_zone latitude longitude accuracy_radius subdivision_1_code subdivision_1_name subdivision_2_code
subdivision_2_name subdivision_3_code subdivision_3_name city_confidence country_confidence postal_code_confidence
subdivision_1_confidence subdivision_2_confidence
""".split())}

# These write a person for any difference; other events not for changed values of noisy properties alone.
PERSON_EVENTS = {"$identify", "$create_alias", "$merge_dangerously", "$set"}
# These never change a person that exists.
NO_UPDATE_EVENTS = {"$exception", "$$heatmap"}
MERGE_EVENTS = {"$identify", "$create_alias", "$merge_dangerously"}

PROTECTED = {"email", "name", *AUTOMATIC, "$fbc", "$session_id", "$window_id", "$pageview_id", "$host", "$user_id",
             "$device_id", "$anon_distinct_id", *(INITIAL[name] for name in (
                 "$referrer $referring_domain utm_source utm_medium utm_campaign utm_content utm_term").split())}

ILLEGAL_ANY_CASE = "anonymous guest distinctid distinct_id id not_authenticated email undefined true false".split()
ILLEGAL_AS_WRITTEN = ["[object Object]", "NaN", "None", "none", "null", "0", "undefined"]


def is_illegal(distinct_id):
    """Ids that many people share by mistake: merging them would make one person of all. Blank, or one of the lists,
    as it stands or in quotes."""
    if distinct_id.strip(" \t\n\v\f\r") == "":
        return True
    forms = [distinct_id]
    if len(distinct_id) >= 2 and distinct_id[0] == distinct_id[-1] and distinct_id[0] in "'\"":
        forms.append(distinct_id[1:-1])
    return any(ascii_lower(form) in ILLEGAL_ANY_CASE or form in ILLEGAL_AS_WRITTEN for form in forms)


def is_unmergeable(distinct_id):
    """As the other side of a merge: wider than illegal."""
    return is_illegal(distinct_id) or "\0" in distinct_id or len(distinct_id) > MERGE_ID_MAX


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


def refusal(event):
    """The warning's type for an event that the public server drops whole: what it would do to a person it does not do.
    (Groups that are named too long are refused in reference_groups.)"""
    if event.event in MERGE_EVENTS:
        for name, warning in (("$anon_distinct_id", "invalid_anon_distinct_id"), ("alias", "invalid_alias")):
            if kind(event.properties.get(name, "null")) not in ("null", "string"):
                return warning
        if is_personless(event):
            return "invalid_event_when_process_person_profile_is_false"
    return None


def has_too_long_group_key(event):
    return event.event == "$groupidentify" and len(text_of(event.properties.get("$group_key")) or "") > MERGE_ID_MAX


def is_full(event):
    """It may make or change a person."""
    return (event.event != "$$client_ingestion_warning" and not is_personless(event) and refusal(event) is None
            and not has_too_long_group_key(event))


def may_go_without(event):
    """A flag that was asked for makes nobody: only who is there already has such events as a person."""
    return (event.event == "$feature_flag_called" and event.properties.get("$process_person_profile") != "true"
            and not object_of(event.properties.get("$groups")))


def merge_source(event):
    """The other distinct id of a merge into the event's own, or None."""
    if event.event == "$identify" and "$anon_distinct_id" in event.properties:
        raw = event.properties["$anon_distinct_id"]
        return "null" if kind(raw) == "null" else string_of(raw)  # null is the name of nobody
    if event.event in ("$create_alias", "$merge_dangerously"):
        return text_of(event.properties.get("alias")) or None
    return None


def unset_names(event):
    """$unset is a list of names, or an object whose keys they are."""
    raw = event.properties.get("$unset", "null")
    if kind(raw) == "array":
        return [string_of(name) for name in elements(raw) if kind(name) == "string"]
    return [name for name, _, _ in members(raw)] if kind(raw) == "object" else []


def automatic_properties(event):
    """What is lifted from the event: ($set, $set_once). $os_name stands for $os where it is a client's; a server's own
    operating system is no person's, but for its name."""
    found = {name: event.properties[name] for name in AUTOMATIC if name in event.properties}
    first = {INITIAL[name]: value for name, value in found.items()}
    if event.properties.get("$is_server") == "true":
        for name in ("$os", "$os_version"):
            found.pop(name, None)
            first.pop(INITIAL[name], None)
    elif "$os_name" in found:
        os_name = found.pop("$os_name")
        del first["$initial_os_name"]
        found.setdefault("$os", os_name)
        if first.get("$initial_os", "null") == "null":
            first["$initial_os"] = os_name
        found = {name: found[name] for name in AUTOMATIC if name in found}
    first = {INITIAL[name]: first[INITIAL[name]] for name in AUTOMATIC if first.get(INITIAL[name], "null") != "null"}
    return found, first


def said(event):
    """($set, $set_once) of the event: what the client wrote before what is lifted. A name that stands for another one
    is not the person's, whoever wrote it."""
    if event.event == "$groupidentify":
        return {}, {}
    found, first = automatic_properties(event)
    set_always, set_once = object_of(event.properties.get("$set")), object_of(event.properties.get("$set_once"))
    if "$os_name" in event.properties and event.properties.get("$is_server") != "true":
        set_always.pop("$os_name", None)
        set_once.pop("$initial_os_name", None)
    return {**set_always, **{n: v for n, v in found.items() if n not in set_always}}, \
        {**set_once, **{n: v for n, v in first.items() if n not in set_once}}


def updated(properties, event):
    """Properties after the event's own: $set_once, then $set, then $unset; of each what the client wrote before what is
    lifted. Names that are new stand at the end, in that order. A null gives way to the first value."""
    if event.event == "$groupidentify":
        return dict(properties)
    new = dict(properties)
    set_always, set_once = said(event)
    for name, value in set_once.items():
        if properties.get(name, "null") == "null" and (name not in properties or value != "null"):
            new[name] = value
    new.update(set_always)
    for name in unset_names(event):
        if name in properties:  # what the same event sets for the first time stays
            new.pop(name, None)
    return new


def begun(event):
    """Properties of the person that the event makes; there is nothing to unset."""
    set_always, set_once = said(event)
    return {**set_once, **set_always, "$creator_event_uuid": quote(event.uuid)}


def at_event(person, event):
    """The person's properties as the event's row shows them: with what it set itself, though no person was written."""
    return {**person.properties, **said(event)[0]}


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
    return any(name not in old or name not in new or name not in NOISY for name in different)


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
        refused = refusal(event)
        if refused is not None:
            self.warnings[refused] += 1
        if not is_full(event) or may_go_without(event) and self.living(event.distinct_id) is None:
            return self.apply_personless(event)
        source, target = merge_source(event), event.distinct_id
        if source is not None and source != target:
            if not is_unmergeable(source) and not is_illegal(target):
                return self.seen(event, self.merge(event, source, target))
            self.warnings["cannot_merge_with_illegal_distinct_id"] += 1
        person = self.living(target)
        if person is None:
            person = self.create(event, target, is_identified=False)
            twin = ascii_lower(target)
            if twin != target and self.living(twin) is not None:
                self.warnings["distinct_id_case_collision"] += 1
            return self.seen(event, person)
        return self.seen(event, self.write(person, event))

    @staticmethod
    def seen(event, person):
        return person.id, at_event(person, event)

    def apply_personless(self, event):
        """Changes no person. The event belongs to the person that its distinct id has, and shows nothing of it. Without
        a person it gets the id that one would have."""
        person = self.living(event.distinct_id)
        if person is None:
            if event.distinct_id not in self.mappings:
                self.used_personless.add(event.distinct_id)
            return person_id_of(self.project, event.distinct_id), {}
        return person.id, {}

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
            return self.write(person, event, identify=True)
        if old.is_identified and event.event != "$merge_dangerously":
            self.warnings["cannot_merge_already_identified"] += 1
            return self.write(person, event, identify=True)
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
            is_identified=is_identified, properties=self.limited(begun(event)), changed_at=event.inserted_at)
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
        return limited(properties, "person_properties_size_violation", self.warnings)

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
