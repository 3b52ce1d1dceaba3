"""What can happen to PostgreSQL and the way to it, in the middle of a load."""

import shutil
import subprocess
import threading
import time
import uuid

import psycopg
import pytest
from harness import TOP, wait_for
from pg_proxy import PgProxy
from workload import make_event, must_be_once


def fill(server, n, size=2000):
    """n events; returns their uuids."""
    ids = set()
    for start in range(0, n, 500):
        events = [make_event(i) for i in range(start, min(start + 500, n))]
        for event in events:
            event["properties"]["text"] = "y" * size
        assert server.capture(events).status_code == 200
        ids |= {e["uuid"] for e in events}
    return ids


def test_connection_reset_between_commit_and_its_answer(server, warehouse):
    """The answer of every first COMMIT is lost; the ledger tells that the rows are there."""
    with PgProxy(warehouse.conninfo) as proxy:
        proxy.lose_commit_answers = 2
        server.create_export(warehouse.destination(port=proxy.port))
        ids = fill(server, 3000)
        wait_for(lambda: ids <= set(warehouse.uuids()), 60, 0.5)
        wait_for(lambda: proxy.lost == 2, 30)
        time.sleep(6)
    must_be_once(warehouse.uuids(), ids, ids)


def test_commit_that_is_still_going_on_when_the_connection_is_reset(server, warehouse):
    """The old backend commits slowly after its client is gone; the second attempt waits for it."""
    export = server.create_export(warehouse.destination(connections=1))
    first = fill(server, 10)
    wait_for(lambda: first <= set(warehouse.uuids()), 30, 0.3)  # the table exists now
    warehouse.admin.execute(
        f"CREATE FUNCTION {warehouse.schema}.slow() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN PERFORM pg_sleep(4); RETURN NULL; END$$")
    warehouse.admin.execute(
        f"CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON {warehouse.schema}.tailrace_ledger DEFERRABLE INITIALLY"
        f" DEFERRED FOR EACH ROW EXECUTE FUNCTION {warehouse.schema}.slow()")
    with PgProxy(warehouse.conninfo) as proxy:
        proxy.cut_at_commit = 1
        server.api("PATCH", f"/api/projects/1/batch_exports/{export['id']}/",
                   {"destination": {"type": "Postgres", "config": {"port": proxy.port, "password": warehouse.password}}})
        ids = fill(server, 1000)
        wait_for(lambda: proxy.cut == 1, 60)
        wait_for(lambda: ids <= set(warehouse.uuids()), 90, 0.5)
        time.sleep(10)
    must_be_once(warehouse.uuids(), first | ids, first | ids)


def test_backend_terminated_in_the_middle_of_copy(server, warehouse):
    """A backend that dies in mid-COPY leaves nothing behind; the next attempt brings all, once."""
    server.create_export(warehouse.destination())
    killed = []
    stop = threading.Event()

    def kill_copies():
        with psycopg.connect(warehouse.conninfo, autocommit=True) as admin:
            while not stop.is_set() and len(killed) < 3:
                for (pid,) in admin.execute(
                        "SELECT pid FROM pg_stat_progress_copy p JOIN pg_stat_activity a USING (pid)"
                        " WHERE a.usename = %s AND bytes_processed > 0", [warehouse.user]).fetchall():
                    admin.execute("SELECT pg_terminate_backend(%s)", [pid])
                    killed.append(pid)
                time.sleep(0.002)

    thread = threading.Thread(target=kill_copies)
    thread.start()
    ids = set()
    until = time.monotonic() + 60
    while len(killed) < 3 and time.monotonic() < until:
        ids |= fill(server, 5000)
        time.sleep(1)
    stop.set()
    thread.join()
    assert killed, "no COPY was met"
    wait_for(lambda: ids <= set(warehouse.uuids()), 90, 0.5)
    time.sleep(6)
    must_be_once(warehouse.uuids(), ids, ids)


def test_server_crash_in_the_middle(make_server, tmp_path):
    """The whole PostgreSQL is killed (immediate stop) and comes back."""
    folder = tmp_path / "pg"
    folder.mkdir()
    for parent in [folder, *folder.parents][:5]:
        parent.chmod(0o755)
    pg = ["bash", str(TOP / "test/lib/pg.sh")]
    out = subprocess.run([*pg, "start", str(folder)], check=True, text=True, stdout=subprocess.PIPE).stdout
    from conftest import Warehouse
    conninfo = out.strip().splitlines()[-1]
    warehouse = Warehouse(conninfo)
    try:
        server = make_server()
        server.create_export(warehouse.destination())
        ids = fill(server, 20000)
        subprocess.run([*pg, "crash", str(folder)], check=True, stdout=subprocess.DEVNULL)
        ids |= fill(server, 5000)
        time.sleep(3)
        subprocess.run([*pg, "restart", str(folder)], check=True, stdout=subprocess.DEVNULL)
        warehouse.admin = psycopg.connect(conninfo, autocommit=True)
        wait_for(lambda: ids <= set(warehouse.uuids()), 120, 0.5)
        time.sleep(6)
        must_be_once(warehouse.uuids(), ids, ids)
    finally:
        subprocess.run([*pg, "stop", str(folder)], check=False, stdout=subprocess.DEVNULL)


def test_two_servers_at_one_chunk(make_server, warehouse, tmp_path):
    """A copied data folder: two processes with one identity deliver the same chunks at once."""
    first = make_server(name="one")
    first.create_export(warehouse.destination(), interval="every 5 seconds")
    ids = fill(first, 8000)
    first.kill()
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    (tmp_path / "two" / "lock").unlink(missing_ok=True)
    second = make_server(name="two", start=False)
    first.start(ready=False)
    second.start(ready=True)
    wait_for(lambda: ids <= set(warehouse.uuids()), 60, 0.5)
    time.sleep(8)
    must_be_once(warehouse.uuids(), ids, ids)


def test_wrong_password_is_refused_with_the_way_out_and_goes_on_after_the_mending(server, warehouse):
    export = server.create_export(warehouse.destination(password="not-the-secret"))
    ids = fill(server, 100)
    run = wait_for(lambda: next((r for r in server.runs(export) if r["status"] == "Failed"), None), 40, 0.5)
    assert "password" in (run["latest_error"] + (run.get("hint") or "")).lower()
    assert "not-the-secret" not in server.log()
    server.api("PATCH", f"/api/projects/1/batch_exports/{export['id']}/",
               {"destination": {"type": "Postgres", "config": {"password": warehouse.password}}})
    for failed in [r for r in server.runs(export) if r["status"] == "Failed"]:
        server.api("POST", f"/api/projects/1/batch_exports/{export['id']}/runs/{failed['id']}/retry/")
    wait_for(lambda: ids <= set(warehouse.uuids()), 60, 0.5)
    must_be_once(warehouse.uuids(), ids, ids)


@pytest.mark.parametrize("grants, hint", [("", "grant"), ("USAGE", "create")])
def test_missing_permission_names_the_grant(server, warehouse, grants, hint):
    warehouse.admin.execute(f"REVOKE ALL ON SCHEMA {warehouse.schema} FROM {warehouse.user}")
    if grants:
        warehouse.admin.execute(f"GRANT {grants} ON SCHEMA {warehouse.schema} TO {warehouse.user}")
    export = server.create_export(warehouse.destination())
    fill(server, 10)
    run = wait_for(lambda: next((r for r in server.runs(export) if r["status"] == "Failed"), None), 40, 0.5)
    assert hint in (run["latest_error"] + " " + (run.get("hint") or "")).lower()


def test_row_that_only_the_server_refuses_is_rejected_alone(server, warehouse):
    """A CHECK constraint of the table's owner: one bad row of many; the others arrive."""
    warehouse.admin.execute(
        f"CREATE TABLE {warehouse.schema}.events (uuid varchar(200), event varchar(200) CHECK (event <> 'bad'),"
        " properties jsonb, distinct_id varchar(200), team_id integer, \"timestamp\" timestamptz)")
    warehouse.admin.execute(f"ALTER TABLE {warehouse.schema}.events OWNER TO {warehouse.user}")
    export = server.create_export(warehouse.destination())
    events = [make_event(i) for i in range(2000)]
    bad = {7, 1000, 1001, 1999}
    for i in bad:
        events[i]["event"] = "bad"
    assert server.capture(events).status_code == 200
    good = {e["uuid"] for i, e in enumerate(events) if i not in bad}
    wait_for(lambda: good <= set(warehouse.uuids()), 60, 0.5)
    must_be_once(warehouse.uuids(), good, good)
    run = wait_for(lambda: next((r for r in server.runs(export) if r["status"] == "Completed"
                                 and r["records_failed"]), None), 20)
    assert run["records_failed"] == 4
    rejects = server.api("GET", f"/api/projects/1/batch_exports/{export['id']}/runs/{run['id']}/rejects/")["results"]
    assert {r["uuid"] for r in rejects} == {events[i]["uuid"] for i in bad}
    assert uuid.UUID(rejects[0]["uuid"]) and "check" in rejects[0]["reason"].lower()
