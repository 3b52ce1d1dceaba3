"""The queries that the docs give to people are taken from the pages and run: at a real PostgreSQL, at a stand-in that
understands GoogleSQL, and over files. What they must find is known from what was captured."""

import json
import pathlib
import re
import subprocess
import uuid

import pytest

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "destinations"
STAMP = "2026-11-20T12:00:00Z"


def queries(page, heading):
    """The SQL blocks under a heading, in order."""
    text = (DOCS / page).read_text()
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ |\Z)", text, re.S | re.M)
    assert found, f"{page} has no section '{heading}'"
    return re.findall(r"```sql\n(.*?)```", found[1], re.S)


def event(name, distinct_id, **properties):
    return {"event": name, "distinct_id": distinct_id, "uuid": str(uuid.uuid4()), "timestamp": STAMP,
            "properties": properties}


def capture(server):
    """Two people who signed up, one of them under two names, and one who has no profile: three. Others did not."""
    nobody = {"$process_person_profile": False}
    events = [
        event("signed up", "anon-1"), event("$identify", "ada", **{"$anon_distinct_id": "anon-1"}),
        event("signed up", "ada"), event("signed up", "bob", **{"$set": {"plan": "pro"}}), event("signed up", "bob"),
        event("signed up", "nobody", **nobody), event("signed up", "nobody", **nobody),
        event("other", "cy", **{"$set": {"plan": "free"}}), event("other", "nobody-2", **nobody)]
    assert server.capture(events).status_code == 200


def deliver(server, destination, model, table="table_id", **more):
    config = destination["config"] | ({table: model} if table else {})
    export = server.create_export({**destination, "config": config}, model=model, interval="hour", paused=True, **more)
    ended = server.backfilled(export, server.backfill(export))
    assert ended["status"] == "Completed", [r["latest_error"] for r in server.runs(export)]
    return export


def test_people_are_counted_in_postgres(make_server, warehouse):
    server = make_server()
    capture(server)
    for model in ("events", "persons"):
        deliver(server, warehouse.destination(), model, table="table_name")
    (sql,) = queries("postgres.md", "How many people")
    assert warehouse.query(sql.replace("exports.", warehouse.schema + ".")) == [(3,)]
    assert server.stop() == 0


def test_people_are_counted_in_files(make_server, tmp_path, google_sql):
    server = make_server()
    capture(server)
    out = tmp_path / "out"
    out.mkdir()
    destination = {"type": "File", "config": {"path": str(out), "compression": "zstd"}}
    ids = {m: deliver(server, destination, m, table=None)["id"] for m in ("events", "persons")}
    (sql,) = queries("file.md", "How many people")
    sql = sql.replace("/srv/exports/EVENTS", f"{out}/{ids['events']}").replace("/srv/exports/PERSONS", f"{out}/{ids['persons']}")
    run = subprocess.run([google_sql.folder / "venv" / "bin" / "python", "-c",
                          "import duckdb, sys; print(duckdb.sql(sys.stdin.read()).fetchall())"],
                         input=sql, text=True, capture_output=True, check=True)
    assert run.stdout.strip() == "[(3,)]"
    assert server.stop() == 0


# ---- BigQuery ----

@pytest.fixture(scope="module")
def google_sql(tmp_path_factory):
    import bq_proxy
    from bq_reader import Reader
    proxy = bq_proxy.BigQueryProxy(tmp_path_factory.mktemp("bq")).start()
    proxy.folder = bq_proxy.install()
    proxy.reader = Reader(proxy.url, proxy.key_file())
    yield proxy
    proxy.stop()


def fresh(google_sql):
    """A dataset, its name, and a destination there."""
    name = "exports_" + uuid.uuid4().hex[:8]
    google_sql.reader.dataset(name)
    config = {"key_file": json.dumps(google_sql.key_file()), "dataset_id": name, "api_endpoint": google_sql.url}
    return name, {"type": "BigQuery", "config": config}


def ask(google_sql, dataset, sql):
    return google_sql.reader.values(sql.replace("PROJECT.exports.", f"proj.{dataset}."))


def test_people_are_counted_in_bigquery(make_server, google_sql):
    server = make_server("--allow-hosts", google_sql.host)
    dataset, destination = fresh(google_sql)
    capture(server)
    for model in ("events", "persons"):
        deliver(server, destination, model)
    (sql,) = queries("bigquery.md", "How many people")
    assert ask(google_sql, dataset, sql) == [[3]]
    assert server.stop() == 0


def test_copies_are_found_passed_over_and_removed_in_bigquery(make_server, google_sql):
    server = make_server("--allow-hosts", google_sql.host)
    dataset, destination = fresh(google_sql)
    capture(server)
    deliver(server, destination, "events")
    once, find, remove = queries("bigquery.md", "How often a row is there")
    assert ask(google_sql, dataset, find) == [[0]] and len(ask(google_sql, dataset, once)) == 9
    ask(google_sql, dataset, "INSERT INTO `PROJECT.exports.events` SELECT * FROM `PROJECT.exports.events` WHERE event = 'other'")
    assert ask(google_sql, dataset, find) == [[2]]
    assert len(ask(google_sql, dataset, once)) == 9
    ask(google_sql, dataset, remove)
    assert ask(google_sql, dataset, find) == [[0]]
    assert ask(google_sql, dataset, "SELECT COUNT(*) FROM `PROJECT.exports.events`") == [[9]]
    assert server.stop() == 0
