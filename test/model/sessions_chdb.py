"""Sessions of random histories as a ClickHouse engine computes them by the public server's rules, against the reference
model: what argMin makes of NULLs and empty texts is seen, not read.

    pip install chdb; python test/model/sessions_chdb.py [SEEDS]
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "lib"))

from history import Delete, read_command  # noqa: E402
from history_generator import histories  # noqa: E402
from rawjson import quote  # noqa: E402
from reference_sessions import ENTRY_TEXTS, FIRST_TEXTS, Sessions, channel_type, session_id_of  # noqa: E402

# Column: (aggregate, property, order). page_first and page_last: other events count as a year off.
COLUMNS = {
    "entry_current_url": ("argMin", "$current_url", "page_first"),
    "end_current_url": ("argMax", "$current_url", "page_last"),
    "last_external_click_url": ("argMax", "$external_click_url", "t"),
    **{column: ("argMin", name, "page_first") for column, name in FIRST_TEXTS.items()},
}
YEAR_US = 365 * 86_400 * 1_000_000


def names():
    return {"$current_url", "$external_click_url", *FIRST_TEXTS.values(), *ENTRY_TEXTS.values()}


def query(path):
    fields = ", ".join(f"`{name}` Nullable(String)" for name in names())
    texts = ", ".join(f"{how}(p.`{name}`, {order}) AS `{column}`" for column, (how, name, order) in COLUMNS.items())
    lesser = ", ".join(f"'{name}', p.`{name}`" for name in ENTRY_TEXTS.values())
    channel = ", ".join(f"p.`{name}`" for name in FIRST_TEXTS.values())
    return f"""
        SELECT session, {texts}, argMin(lesser, page_first) AS lesser,
               argMin(tuple({channel}), page_first) AS channel, max(t) AS end_timestamp, argMax(who, t) AS distinct_id
        FROM (SELECT session, who, t, JSONExtract(properties, 'Tuple({fields})') AS p,
                     CAST(mapFilter((k, v) -> v IS NOT NULL, map({lesser})) AS Map(String, String)) AS lesser,
                     if(event IN ('$pageview', '$screen'), t, t + {YEAR_US}) AS page_first,
                     if(event IN ('$pageview', '$screen'), t, t - {YEAR_US}) AS page_last
              FROM file('{path}', JSONEachRow, 'session String, event String, who String, t Int64, properties String'))
        GROUP BY session FORMAT JSONEachRow"""


def main():
    from chdb.session import Session

    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    path = pathlib.Path("/tmp/tailrace-sessions.jsonl")
    sessions = {}
    n = 0
    with open(path, "w", encoding="utf-8") as out:
        for command in map(read_command, histories(1, seeds, 150)):
            if isinstance(command, Delete) or session_id_of(command) is None:
                continue
            n += 1
            command.timestamp = command.timestamp // 1_000_000 * 1_000_000 + n % 1_000_000  # no two at one instant
            properties = "{" + ",".join(f"{quote(k)}:{v}" for k, v in command.properties.items() if k in names()) + "}"
            out.write(json.dumps({"session": f"{command.project}:{session_id_of(command)}", "event": command.event,
                                  "who": command.distinct_id, "t": command.timestamp, "properties": properties}) + "\n")
            sessions.setdefault(command.project, Sessions(command.project)).apply(command)
    want = {f"{row['team_id']}:{row['session_id']}": row for model in sessions.values() for row in model.rows()}
    got = {row["session"]: row for row in map(json.loads, str(Session().query(query(path))).splitlines())}
    assert set(got) == set(want), "other sessions"
    wrong = 0
    for session, row in got.items():
        ours = {name: want[session][name] for name in (*COLUMNS, *ENTRY_TEXTS, "distinct_id", "channel_type")}
        theirs = {name: row[name] for name in (*COLUMNS, "distinct_id")}
        theirs |= {column: row["lesser"].get(name) for column, name in ENTRY_TEXTS.items()}
        told = row["channel"].values() if isinstance(row["channel"], dict) else row["channel"]
        theirs["channel_type"] = channel_type(dict(zip(FIRST_TEXTS, told)))
        for name, value in ours.items():
            if value != theirs[name] and not is_cut_or_printed(value, theirs[name]):
                wrong += 1
                print(f"{session}: {name} is {theirs[name]!r} there, {value!r} here")
    path.unlink()
    print(f"{len(got)} sessions, {n} events: {wrong} differences")
    return 1 if wrong else 0


def is_cut_or_printed(ours, theirs):
    """We cut long texts, and keep numbers and lists as they were written."""
    if ours is None or theirs is None:
        return False
    if len(ours.encode()) > 1020 and theirs.startswith(ours):
        return True
    try:
        return ours != "" and json.loads(ours) == json.loads(theirs)
    except ValueError:
        return False


if __name__ == "__main__":
    sys.exit(main())
