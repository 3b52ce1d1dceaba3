"""What groups come out of a history of events: slow and obvious, to be read as the specification.

A project has at most five types of groups, numbered in the order in which they first appear: in the $groups of any
event, or as the $group_type of a $groupidentify. A group comes to be by a $groupidentify and lives for ever.
"""

import collections
import dataclasses

from rawjson import kind, object_of, text_of
from reference_persons import is_full, limited

TYPES_MAX = 5
NAME_MAX = 400  # characters, of a type and of a key alike


def is_falsy(raw):
    return raw is None or raw == "false" or kind(raw) == "number" and float(raw) == 0


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
        if is_full(event):
            for type_name, raw in object_of(event.properties.get("$groups")).items():
                key = self.name_of(raw)
                index = self.index_of(type_name) if key is not None else None
                if index is not None:
                    keys[index] = key
        if event.event == "$groupidentify":
            self.identify(event)
        return keys

    def identify(self, event):
        """Also of an event without a person: a group is none. false and 0 name nothing."""
        type_name, key = (None if is_falsy(raw) else self.name_of(raw) for raw in (
            event.properties.get("$group_type"), event.properties.get("$group_key")))
        if type_name is None or key is None:
            return
        if kind(event.properties.get("$group_set", "null")) not in ("null", "object"):
            self.warnings["invalid_group_set"] += 1
            return
        index = self.index_of(type_name)
        if index is None:
            return
        new = object_of(event.properties.get("$group_set"))
        group = self.groups.get((index, key))
        if group is None:
            self.groups[index, key] = Group(self.limited(new), 0, event.timestamp, event.inserted_at)
        elif {**group.properties, **new} != group.properties:
            group.properties = self.limited({**group.properties, **new})
            group.version += 1
            group.changed_at = event.inserted_at

    def limited(self, properties):
        return limited(properties, "group_upsert_message_size_too_large", self.warnings)

    def name_of(self, raw):
        """The text of a type or key: a string, or a number, true or false as it is written; not empty, not too long."""
        text = text_of(raw)
        if not text:
            return None
        if len(text) > NAME_MAX:
            self.warnings["group_key_too_long"] += 1
            return None
        return text

    def index_of(self, type_name):
        """Its number; a new one for a new type while there are any."""
        if type_name in self.types:
            return self.types.index(type_name)
        if type_name == "":
            return None
        if len(type_name) > NAME_MAX:
            self.warnings["group_key_too_long"] += 1
            return None
        if len(self.types) == TYPES_MAX:
            self.warnings["group_type_limit_exceeded"] += 1
            return None
        self.types.append(type_name)
        return len(self.types) - 1

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
