"""Histories of events, and what must come of them: the exchange between the reference models and whatever is tested
against them.

A HISTORY is JSON lines, one command each, in the order of ingestion; inserted_at rises strictly over the whole history:

    {"do":"event","project":1,"uuid":"0190..","event":"$pageview","distinct_id":"ann","timestamp":1700000000000000,
     "inserted_at":1700000000000001,"properties":{..}}
    {"do":"delete","project":1,"person_id":"5e2c..","with_distinct_ids":true,"inserted_at":1700000000000002}

Instants are microseconds UTC. properties are to be taken as they stand, byte for byte: equal keys, escapes in keys and
numbers like 54.10 occur. uuids differ, so nothing of a history is a duplicate. A delete may name a person that does
not exist.

A RESULT is JSON lines, one row each, in any order:

    {"row":"event","team_id":1,"uuid":..,"person_id":..,"person_properties":{..},"$group_0":..,..,"$group_4":..}
    {"row":"person", ..the columns of the persons model..}
    {"row":"session", ..the columns of the sessions model..}
    {"row":"group", ..the columns of the groups model..}
    {"row":"warning","project":1,"type":"cannot_merge_already_identified","count":3}

Values are JSON: instants are integers (microseconds UTC), uuids lower case with dashes, missing texts null. Properties
are objects that keep the bytes of their values. A warning that never occurred has no row.

    history.py generate --seed 7 [--seeds 100] [--events 200] [--big]    a history on standard output
    history.py expect [--only person,session]                            a history in, the result out
    history.py compare EXPECTED ACTUAL [--only ..]                       exit status 1 and the differences
"""

import argparse
import collections
import dataclasses
import json
import sys
import uuid

from rawjson import members, object_of, quote
from reference_groups import Groups
from reference_persons import Persons
from reference_sessions import Sessions
from reference_warnings import warnings_of

ROWS = ("event", "person", "session", "group", "warning")
PROPERTIES = ("person_properties", "properties", "group_properties")
KEYS = {"event": ("team_id", "uuid"), "person": ("team_id", "distinct_id"), "session": ("team_id", "session_id"),
        "group": ("team_id", "group_type_index", "group_key"), "warning": ("project", "type")}


@dataclasses.dataclass
class Event:
    project: int
    uuid: str
    event: str
    distinct_id: str
    timestamp: int
    inserted_at: int
    properties: dict  # name: raw value


@dataclasses.dataclass
class Delete:
    project: int
    person_id: uuid.UUID
    with_distinct_ids: bool
    inserted_at: int


# ---- histories ----


def read_command(line):
    raw = {name: value for name, _, value in members(line)}
    properties = raw.pop("properties", None)
    values = {name: json.loads(value) for name, value in raw.items()}
    what = values.pop("do")
    if what == "event":
        return Event(**values, properties=object_of(properties))
    return Delete(values["project"], uuid.UUID(values["person_id"]), values["with_distinct_ids"], values["inserted_at"])


def write_event(project, event, distinct_id, timestamp, inserted_at, properties, event_uuid=None):
    """properties: raw JSON text."""
    event_uuid = event_uuid or uuid.uuid5(uuid.NAMESPACE_OID, str(inserted_at))
    return (f'{{"do":"event","project":{project},"uuid":"{event_uuid}","event":{quote(event)},"distinct_id":'
            f'{quote(distinct_id)},"timestamp":{timestamp},"inserted_at":{inserted_at},"properties":{properties}}}')


def write_delete(project, person_id, with_distinct_ids, inserted_at):
    return (f'{{"do":"delete","project":{project},"person_id":"{person_id}",'
            f'"with_distinct_ids":{"true" if with_distinct_ids else "false"},"inserted_at":{inserted_at}}}')


# ---- results ----


def expect(lines):
    """The rows that a history must lead to; properties as {name: raw value}."""
    projects = {}
    rows = []
    for command in map(read_command, lines):
        models = projects.setdefault(command.project, (Persons(command.project), Sessions(command.project),
                                                       Groups(command.project), collections.Counter()))
        persons, sessions, groups, told = models
        if isinstance(command, Delete):
            persons.delete(command.person_id, command.with_distinct_ids, command.inserted_at)
            continue
        told.update(warnings_of(command))
        person_id, properties = persons.apply(command)
        sessions.apply(command)
        keys = groups.apply(command)
        rows.append({"row": "event", "team_id": command.project, "uuid": command.uuid, "person_id": str(person_id),
                     "person_properties": properties, **{f"$group_{i}": key for i, key in enumerate(keys)}})
    for project, (persons, sessions, groups, told) in projects.items():
        for kind, model in (("person", persons), ("session", sessions), ("group", groups)):
            rows += ({"row": kind, **row} for row in model.rows())
        warnings = persons.warnings + groups.warnings + told
        rows += ({"row": "warning", "project": project, "type": name, "count": n} for name, n in warnings.items())
    return rows


def write_row(row):
    parts = []
    for name, value in row.items():
        if name in PROPERTIES and row["row"] != "warning":
            text = "{" + ",".join(f"{quote(k)}:{v}" for k, v in value.items()) + "}"
        else:
            text = json.dumps(value, ensure_ascii=False)
        parts.append(f"{quote(name)}:{text}")
    return "{" + ",".join(parts) + "}"


def read_row(line):
    row = {}
    for name, _, raw in members(line):
        row[name] = object_of(raw) if name in PROPERTIES else json.loads(raw)
    return row


def compare(expected, actual, only=ROWS):
    """The differences between two lists of rows, as lines for people; none when they are equal."""
    def by_key(rows):
        found = collections.defaultdict(list)
        for row in rows:
            if row["row"] in only:
                found[(row["row"], *(row[name] for name in KEYS[row["row"]]))].append(row)
        return found

    want, got = by_key(expected), by_key(actual)
    problems = []
    for key in {**want, **got}:
        if len(want[key]) != len(got[key]):
            problems.append(f"{key}: {len(got[key])} rows, not {len(want[key])}")
            continue
        for w, g in zip(want[key], got[key]):
            for name in {**w, **g}:
                if differs(w.get(name), g.get(name)):
                    problems.append(f"{key}: {name} is {g.get(name)!r}, not {w.get(name)!r}")
    return problems


def differs(want, got):
    if isinstance(want, dict) and isinstance(got, dict):
        return list(want.items()) != list(got.items())  # in order
    return type(want) is not type(got) and not (isinstance(want, float) and isinstance(got, int)) or want != got


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    generate = commands.add_parser("generate")
    generate.add_argument("--seed", type=int, default=1)
    generate.add_argument("--seeds", type=int, default=1, help="that many histories in one, each with projects of its own")
    generate.add_argument("--events", type=int, default=200, help="commands of each at most")
    generate.add_argument("--big", action="store_true", help="properties so large that persons are trimmed")
    expected = commands.add_parser("expect")
    expected.add_argument("--only", default=",".join(ROWS))
    comparing = commands.add_parser("compare")
    comparing.add_argument("--only", default=",".join(ROWS))
    comparing.add_argument("expected")
    comparing.add_argument("actual")
    options = parser.parse_args()

    if options.command == "generate":
        from history_generator import histories
        for line in histories(options.seed, options.seeds, options.events, options.big):
            print(line)
        return 0
    only = options.only.split(",")
    if options.command == "expect":
        for row in expect(sys.stdin):
            if row["row"] in only:
                print(write_row(row))
        return 0
    with open(options.expected, encoding="utf-8") as want, open(options.actual, encoding="utf-8") as got:
        problems = compare(map(read_row, want), map(read_row, got), only)
    print("\n".join(problems[:50]) or "equal")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
