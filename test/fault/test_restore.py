"""A backup is restored: what the lost server had told meanwhile is known to nobody but the destination."""

import datetime
import shutil
import uuid

from harness import Server


def person(event_uuid, name):
    return {"event": "e", "distinct_id": "ada", "uuid": event_uuid, "properties": {"$set": {"name": name}}}


def told(server, export, **more):
    """A backfill over the last hours has gone well."""
    start = (datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=2)).isoformat()
    assert server.backfilled(export, server.backfill(export, start=start, **more))["status"] == "Completed"


def test_a_restored_backup_tells_each_event_once_and_newer_persons(tmp_path, warehouse):
    ids = [str(uuid.uuid4()) for _ in range(12)]
    it = Server(tmp_path / "data").start()
    events = it.create_export(warehouse.destination(), interval="hour")
    persons = it.create_export(warehouse.destination(table_name="persons"), interval="hour", model="persons")
    quiet = it.create_export(warehouse.destination(table_name="quiet"), interval="hour", model="persons")
    assert it.capture([person(i, "first") for i in ids[:5]]).status_code == 200
    assert it.capture([{"event": "e", "distinct_id": "bob", "properties": {"$set": {"name": "bob"}}}]).ok
    for export in (persons, quiet):
        told(it, export)
    assert it.stop() == 0
    shutil.copytree(tmp_path / "data", tmp_path / "backup")

    # The server goes on, tells what the backup has and more, and is lost.
    it.start()
    for i in range(5, 9):
        assert it.capture([person(ids[i], f"lost {i}")]).status_code == 200
    assert it.capture([{"event": "e", "distinct_id": "bob", "properties": {"$set": {"name": "lost"}}}]).ok
    for export in (events, persons, quiet):
        told(it, export)
    assert it.stop() == 0
    it.check_clean()
    total = len(warehouse.uuids())
    assert total == 11

    back = Server(tmp_path / "backup").start(args=["--restored"])
    assert back.capture([person(i, "newest") for i in ids[9:]]).status_code == 200
    for export in (events, persons):
        told(back, export)
    there = [str(u) for u in warehouse.uuids()]
    assert len(there) == total + 3
    assert all(there.count(i) == 1 for i in ids)

    def names(table):
        return dict(warehouse.admin.execute(
            f"SELECT distinct_id, properties->>'name' FROM {warehouse.schema}.{table}").fetchall())
    assert names("persons")["ada"] == "newest"
    for export in (events, persons):
        report = back.api("GET", f"/api/projects/1/batch_exports/{export['id']}/verify/", params={"recount": "true"})
        assert report["ok"], report

    # Who has not changed since keeps the lost server's state until somebody replaces it.
    assert names("quiet") == {"ada": "lost 8", "bob": "lost"}
    told(back, quiet, on_delivered="replace")
    assert names("quiet") == {"ada": "newest", "bob": "bob"}
    assert back.stop() == 0

    # The epoch stays without the option.
    back.start()
    assert back.capture([person(str(uuid.uuid4()), "and on")]).status_code == 200
    told(back, quiet)
    assert names("quiet")["ada"] == "and on"
    assert back.stop() == 0
    back.check_clean()


def test_rows_of_a_restored_backup_lie_apart_in_files_and_are_found_again(tmp_path):
    """Files of both epochs are asked for under the keys that they were written with."""
    from harness import file_destination, rows_in
    it = Server(tmp_path / "data").start()
    export = it.create_export(file_destination(tmp_path / "out"), interval="hour")
    assert it.capture([person(str(uuid.uuid4()), "a")]).status_code == 200
    told(it, export)
    assert it.stop() == 0
    it.start(args=["--restored"])
    assert it.capture([person(str(uuid.uuid4()), "b")]).status_code == 200
    told(it, export)
    assert len(rows_in(tmp_path / "out")) == 2
    assert len(list((tmp_path / "out").glob("*/g0-*"))) == 2
    report = it.api("GET", f"/api/projects/1/batch_exports/{export['id']}/verify/", params={"recount": "true"})
    assert report["ok"], report
    assert it.stop() == 0
    it.check_clean()
