"""What groups come out of a history of events: slow and obvious, to be read as the specification.

A project has at most five types of groups, numbered in the order in which they first appear: in the $groups of any
event, or as the $group_type of a $groupidentify. A group comes to be by a $groupidentify and lives for ever.
"""

import collections
import dataclasses

from rawjson import kind, object_of, text_of
from reference_persons import PROPERTIES_MAX_BYTES, properties_bytes, trimmed

TYPES_MAX = 5
NAME_MAX = 400  # characters, of a type and of a key alike


def name_of(raw):
    """A type or key: a string, or a number as it is written; None for anything else."""
    return text_of(raw) if raw is not None and kind(raw) in ("string", "number") else None


def is_good(name):
    return 0 < len(name) <= NAME_MAX


@dataclasses.dataclass
class Group:
    properties: dict
    version: int
    created_at: int
    changed_at: int


class Groups:
    """The groups of one project."""

    def __init__(self, project):
        self.project = project
        self.types = []  # by index
        self.groups = {}  # by (type index, key)
        self.warnings = collections.Counter()

    def apply(self, event):
        """Returns the event's $group_0 .. $group_4, None where it belongs to none."""
        keys = [None] * TYPES_MAX
        for type_name, raw in object_of(event.properties.get("$groups")).items():
            key = name_of(raw)
            if key is None or not is_good(type_name):
                continue
            index = self.index_of(type_name)
            if index is not None:
                keys[index] = key or None
        if event.event == "$groupidentify" and event.properties.get("$process_person_profile") != "false":
            self.identify(event)
        return keys

    def identify(self, event):
        type_name = name_of(event.properties.get("$group_type"))
        key = name_of(event.properties.get("$group_key"))
        if type_name is None or key is None:
            return
        if not is_good(type_name) or not is_good(key):
            self.warnings["group_key_too_long"] += 1
            return
        index = self.index_of(type_name)
        if index is None:
            return
        new = object_of(event.properties.get("$group_set"))
        group = self.groups.get((index, key))
        if group is None:
            self.groups[index, key] = Group(self.limited(new), 0, event.timestamp, event.inserted_at)
            return
        new = {**group.properties, **new}
        if new != group.properties:
            group.properties = self.limited(new)
            group.version += 1
            group.changed_at = event.inserted_at

    def index_of(self, type_name):
        """Its number; a new one for a new type while there are any."""
        if type_name in self.types:
            return self.types.index(type_name)
        if len(self.types) == TYPES_MAX:
            self.warnings["group_type_limit"] += 1
            return None
        self.types.append(type_name)
        return len(self.types) - 1

    def limited(self, properties):
        if properties_bytes(properties) <= PROPERTIES_MAX_BYTES:
            return properties
        self.warnings["group_properties_trimmed"] += 1
        return trimmed(properties)

    def rows(self):
        for (index, key), group in self.groups.items():
            yield {
                "team_id": self.project,
                "group_type_index": index,
                "group_type": self.types[index],
                "group_key": key,
                "group_properties": dict(group.properties),
                "group_version": group.version,
                "created_at": group.created_at,
                "_inserted_at": group.changed_at,
            }
