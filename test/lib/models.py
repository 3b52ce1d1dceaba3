"""Persons, sessions and groups at a destination, held against what the reference models make of the raw events that
another export brought to files."""

import datetime
import decimal
import json
import threading
import time
import uuid

import history
import requests
from harness import file_destination, rows_in, wait_for
from history_generator import Generator
from rawjson import members, object_of

EXPORTS = "/api/projects/1/batch_exports/"
MODELS = {"persons": "person", "sessions": "session", "groups": "group"}
PROPERTIES = ("properties", "group_properties")
EVENT_COLUMNS = ["uuid", "event", "distinct_id", "timestamp", "_inserted_at", "properties", "person_id",
                 "person_properties", *(f"$group_{i}" for i in range(5))]


def micros(text_or_time):
    t = text_or_time
    if isinstance(t, str):
        t = datetime.datetime.fromisoformat(t.replace("Z", "+00:00"))
    since = t - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds


def iso(us):
    t = datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=us)
    return t.isoformat(timespec="microseconds") + "Z"


# ---- sending ----


class Crowd:
    """Few people with few ids, told by several clients at once; now and then everybody waits and a person is deleted."""

    def __init__(self, server, seed, clients=3):
        self.server, self.token = server, server.capture_token()
        self.generators = [Generator(seed + i, [1], 10**9, False, 0) for i in range(clients)]
        for generator in self.generators:
            generator.ids = self.generators[0].ids
            generator.sessions = [generator.uuid7() for _ in range(150)]  # the reference is slow at long ones
            generator.deletes, generator.personless = 0.0, 0.1
        self.phases = [set()]  # uuids acknowledged before each deletion
        self.deletes = []  # (person id, with distinct ids), one between two phases
        self.going, self.threads = threading.Event(), []

    def __enter__(self):
        self.resume()
        return self

    def __exit__(self, *_):
        self.wait()

    def resume(self):
        self.going.set()
        self.threads = [threading.Thread(target=self._run, args=(g,)) for g in self.generators]
        for thread in self.threads:
            thread.start()

    def wait(self):
        self.going.clear()
        for thread in self.threads:
            thread.join()

    def delete(self):
        """Of somebody who may or may not be there."""
        self.wait()
        random = self.generators[0].random
        person_id = history_person(random.choice(self.generators[0].ids))
        with_ids = random.random() < 0.5
        answer = requests.delete(
            f"{self.server.url}/api/projects/1/persons/{person_id}/", timeout=30,
            params={"distinct_ids": "true"} if with_ids else {},
            headers={"Authorization": f"Bearer {self.server.owner_token}"})
        assert answer.status_code in (202, 204, 404), answer.text
        if answer.status_code != 404:
            self.deletes.append((person_id, with_ids))
            self.phases.append(set())
        self.resume()

    def _run(self, generator):
        session = requests.Session()
        while self.going.is_set():
            generator.now = int(time.time() * 1_000_000)
            bodies = [self._event(generator) for _ in range(generator.random.randint(1, 6))]
            body = '{"api_key":"%s","batch":[%s]}' % (self.token, ",".join(text for _, text in bodies))
            while not self._send(session, body):
                session = requests.Session()
                time.sleep(0.05)
            self.phases[-1].update(u for u, _ in bodies)
            time.sleep(0.01)

    @staticmethod
    def _event(generator):
        event = generator.random.choices(*zip(*generator_events()))[0]
        uid = str(uuid.uuid4())
        return uid, (f'{{"event":"{event}","uuid":"{uid}","distinct_id":{json.dumps(generator.distinct_id())},'
                     f'"timestamp":"{iso(generator.timestamp())}","properties":{generator.properties(event)}}}')

    def _send(self, session, body):
        try:
            return session.post(self.server.url + "/batch/", data=body.encode(), timeout=20).status_code == 200
        except requests.RequestException:
            return False

    def sent(self):
        return set().union(*self.phases)


def generator_events():
    from history_generator import EVENTS
    return EVENTS.items()


def history_person(distinct_id):
    from reference_persons import person_id_of
    return person_id_of(1, distinct_id)


# ---- what should be ----


def events_of(folder):
    """The rows of an export of raw events to files, as they were written, in the order of ingestion."""
    rows = [{name: raw for name, _, raw in members(line)} for line in lines_of(folder)]
    return sorted(rows, key=lambda row: micros(json.loads(row["_inserted_at"])))


def lines_of(folder):
    for manifest in sorted(folder.rglob("*_manifest.json")):
        for entry in json.loads(manifest.read_text())["files"]:
            yield from filter(None, (manifest.parent / entry["name"]).read_text().split("\n"))


def history_of(events, phases=(), deletes=()):
    """The events and deletions as a history."""
    commands = []
    stamps = {}
    for row in events:
        at = micros(json.loads(row["_inserted_at"]))
        stamps[json.loads(row["uuid"])] = at
        commands.append((at, history.write_event(1, json.loads(row["event"]), json.loads(row["distinct_id"]),
                                                 micros(json.loads(row["timestamp"])), at, row["properties"],
                                                 json.loads(row["uuid"]))))
    last = 0
    for phase, (person_id, with_ids) in zip(phases, deletes):
        last = max([last, *(stamps[u] for u in phase)]) + 1
        commands.append((last, history.write_delete(1, person_id, with_ids, last)))
    return [line for _, line in sorted(commands)]


# ---- what is ----


def value_of(value):
    if isinstance(value, (datetime.datetime, datetime.date)):
        return micros(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    return value


def plain(value):
    """JSON by meaning: what a jsonb column keeps of it."""
    return json.loads(value, parse_float=decimal.Decimal, parse_int=decimal.Decimal) if isinstance(value, str) else value


def row_of_reference(row):
    found = {name: value for name, value in row.items() if name != "row"}
    for name in PROPERTIES:
        if name in found:
            found[name] = {key: plain(raw) for key, raw in found[name].items()}
    return without_nul(found)


def without_nul(value):
    """PostgreSQL has no NUL: docs/destinations/postgres.md says what comes in its place."""
    if isinstance(value, dict):
        return {without_nul(k): without_nul(v) for k, v in value.items()}
    if isinstance(value, list):
        return [without_nul(v) for v in value]
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def table(warehouse, name, columns):
    """The rows of a table by the columns of the model; JSON by meaning."""
    picked = ",".join(f'to_jsonb("{c}")::text' if c in (*PROPERTIES, "urls") else f'"{c}"' for c in columns)
    rows = warehouse.admin.execute(f"SELECT {picked} FROM {warehouse.schema}.{name}").fetchall()
    found = [dict(zip(columns, map(value_of, row))) for row in rows]
    for row in found:
        for column in (*PROPERTIES, "urls"):
            if column in row:
                row[column] = plain(row[column])
    return found


def columns_of(model):
    """Every column of a model, from the reference's rows."""
    kind = MODELS[model]
    example = history.expect([history.write_event(1, "$groupidentify", "d", 0, 1, (
        '{"$group_type":"a","$group_key":"b","$session_id":"0190c8e2-7a5d-7f00-8a1b-3c5d7e9f0a1b"}'))])
    return [name for name in next(row for row in example if row["row"] == kind) if name != "row"]


def must_be_equal(found, expected, model, loose=()):
    """loose: instants of change that are only known to lie between others."""
    keys = history.KEYS[MODELS[model]]
    by_key = {tuple(row[k] for k in keys): row for row in found}
    assert len(by_key) == len(found), f"{model}: {len(found) - len(by_key)} rows more than once"
    problems = []
    expected = {tuple(row[k] for k in keys): row for row in map(row_of_reference, expected)}
    for key in {**by_key, **expected}:
        want, got = expected.get(key), by_key.get(key)
        if want is None or got is None:
            problems.append(f"{key}: {'missing' if got is None else 'nobody expects it'}")
            continue
        for name, value in want.items():
            if got[name] != value and not (name == "_inserted_at" and value in loose):
                problems.append(f"{key}: {name} {difference(got[name], value)}")
    assert not problems, f"{model}: {len(problems)} differences\n" + "\n".join(problems[:15])


def difference(got, want):
    if isinstance(got, dict) and isinstance(want, dict):
        names = [n for n in {**got, **want} if n not in got or n not in want or got[n] != want[n]]
        got, want = {n: got[n] for n in names if n in got}, {n: want[n] for n in names if n in want}
    return f"is {str(got)[:300]}, not {str(want)[:300]}"


# ---- all of it ----


class Tables:
    """Exports of the raw events to files and of the three models to PostgreSQL."""

    def __init__(self, server, warehouse, folder, interval="every 5 seconds", models=tuple(MODELS), **config):
        self.server, self.warehouse, self.folder = server, warehouse, folder
        self.exports = [server.create_export(file_destination(folder), interval=interval, columns=EVENT_COLUMNS,
                                             name="raw")]
        self.models = {}
        for model in models:
            self.models[model] = server.create_export(
                warehouse.destination(**{"table_name": model, **config}), model=model, interval=interval,
                columns=columns_of(model), name=model)
        self.exports += self.models.values()

    def settle(self, seconds=120):
        """Waits until everything that has been sent is delivered, by schedule and by backfill."""
        now = self.server.api("GET", "/api/status/")["now"]

        def look():
            mine = {e["id"]: e for e in self.server.api("GET", "/api/status/")["exports"]}
            late = [e for e in self.exports if mine[e["id"]]["delivered_through"] < now]
            return not late and not any(self.busy(e) for e in self.exports)
        wait_for(look, seconds, 0.5)

    def busy(self, export):
        return any(self.server.runs(export, status=status) for status in ("Starting", "Running"))

    def check(self, crowd=None):
        """Everything is as the reference says; returns its rows."""
        events = events_of(self.folder)
        found = [json.loads(row["uuid"]) for row in events]
        assert len(set(found)) == len(found) and (crowd is None or set(found) == crowd.sent())
        told = history_of(events, crowd.phases, crowd.deletes) if crowd else history_of(events)
        loose = {history.read_command(line).inserted_at for line in told if '"do":"delete"' in line}
        expected = history.expect(told)
        for model, kind in MODELS.items():
            if model in self.models:
                must_be_equal(table(self.warehouse, model, columns_of(model)),
                              [row for row in expected if row["row"] == kind], model, loose)
        self.check_events(events, [row for row in expected if row["row"] == "event"])
        return expected

    @staticmethod
    def check_events(events, expected):
        """What the events carry of their persons and groups, byte for byte."""
        by_uuid = {row["uuid"]: row for row in expected}
        for row in events:
            want = by_uuid[json.loads(row["uuid"])]
            assert json.loads(row["person_id"]) == want["person_id"]
            assert object_of(row["person_properties"]) == want["person_properties"]
            for i in range(5):
                assert json.loads(row[f"$group_{i}"]) == want[f"$group_{i}"]
