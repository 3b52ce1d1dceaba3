"""Persons in PostgreSQL: what is delivered is in the table, each under its own key, with every column."""

from harness import wait_for

COLUMNS = ("team_id integer, distinct_id {id}, person_id text, properties jsonb, person_distinct_id_version bigint,"
           " person_version bigint, created_at timestamptz, is_deleted boolean, PRIMARY KEY (team_id, distinct_id)")


def send(server, ids):
    events = [{"event": "x", "distinct_id": i, "properties": {"$set": {"name": i}}} for i in ids]
    assert server.capture(events).status_code == 200


def make_table(warehouse, id_type="text", more=""):
    warehouse.admin.execute(f"CREATE TABLE {warehouse.schema}.events ({COLUMNS.format(id=id_type)}{more})")
    warehouse.admin.execute(f"ALTER TABLE {warehouse.schema}.events OWNER TO {warehouse.user}")


def export(server, warehouse, **more):
    return server.create_export(warehouse.destination(), model="persons", paused=True, **more)


def fill(server, made, **more):
    done = server.backfilled(made, server.backfill(made, **more))
    runs = server.runs(made)
    failed = " ".join(f"{r['latest_error']} {r.get('hint')}" for r in runs if r["status"] == "Failed")
    return done["status"], failed, runs[0]


def there(warehouse):
    return {i: p for i, p in warehouse.query("SELECT distinct_id, properties FROM EVENTS")}


def rejects(server, made, run):
    path = f"/api/projects/1/batch_exports/{made['id']}/runs/{run['id']}/rejects/"
    return [r["reason"] for r in server.api("GET", path)["results"]]


def test_a_trigger_that_drops_persons_is_no_delivery(server, warehouse):
    make_table(warehouse)
    warehouse.admin.execute(
        f"CREATE FUNCTION {warehouse.schema}.drop() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN"
        " RETURN CASE WHEN NEW.distinct_id IN ('d3', 'd7') THEN NULL ELSE NEW END; END$$")
    warehouse.admin.execute(f"CREATE TRIGGER t BEFORE INSERT ON {warehouse.schema}.events FOR EACH ROW"
                            f" EXECUTE FUNCTION {warehouse.schema}.drop()")
    send(server, [f"d{i}" for i in range(20)])
    made = export(server, warehouse)
    status, why, _ = fill(server, made)
    assert status == "Failed" and "kept 18 of 20 rows" in why
    assert there(warehouse) == {}
    warehouse.admin.execute(f"DROP TRIGGER t ON {warehouse.schema}.events")
    assert fill(server, made)[0] == "Completed" and len(there(warehouse)) == 20

    # rows that are there already are written by nobody, and that is fine; replacing writes them all
    assert fill(server, export(server, warehouse))[0] == "Completed"
    warehouse.admin.execute(f"CREATE TRIGGER t BEFORE UPDATE ON {warehouse.schema}.events FOR EACH ROW"
                            f" EXECUTE FUNCTION {warehouse.schema}.drop()")
    status, why, _ = fill(server, made, on_delivered="replace")
    assert status == "Failed" and "kept 18 of 20 rows" in why


def test_keys_are_never_cut(server, warehouse):
    make_table(warehouse, "varchar(12)")
    send(server, [f"the same start {i}" for i in range(10)] + ["short"])
    made = export(server, warehouse)
    status, _, run = fill(server, made)
    assert status == "Completed"
    assert set(there(warehouse)) == {"short"}
    assert run["records_failed"] == 10
    assert all("key longer than the column" in reason for reason in rejects(server, made, run))


def test_many_persons_that_the_table_refuses_are_told_one_by_one(server, warehouse):
    make_table(warehouse, more=", CHECK (distinct_id !~ '[13579]$')")
    send(server, [f"d{i}" for i in range(400)])
    made = export(server, warehouse)
    status, _, run = fill(server, made)
    assert status == "Completed" and run["records_failed"] == 200
    assert set(there(warehouse)) == {f"d{i}" for i in range(0, 400, 2)}


def test_a_second_export_fills_its_own_columns(server, warehouse):
    make_table(warehouse, more=", seen timestamptz")
    send(server, ["a", "b"])
    assert fill(server, export(server, warehouse))[0] == "Completed"
    assert warehouse.query("SELECT count(seen) FROM EVENTS") == [(0,)]
    columns = ["team_id", "distinct_id", "person_version", "person_distinct_id_version",
               {"name": "created_at", "as": "seen"}]
    assert fill(server, export(server, warehouse, columns=columns))[0] == "Completed"
    assert warehouse.query("SELECT count(seen) FROM EVENTS") == [(2,)]
    assert {i: p["name"] for i, p in there(warehouse).items()} == {"a": "a", "b": "b"}


def test_a_second_installation_is_refused_in_a_table_of_the_same_keys(server, make_server, warehouse):
    send(server, ["a", "b"])
    made = export(server, warehouse)
    assert fill(server, made)[0] == "Completed"
    second = make_server(name="second")
    send(second, ["b", "c"])
    other = export(second, warehouse)
    status, why, _ = fill(second, other)
    assert status == "Failed" and "another installation has rows of team_id 1" in why and "table_name" in why
    assert set(there(warehouse)) == {"a", "b"}
    send(server, ["d"])
    wait_for(lambda: fill(server, made)[0] == "Completed" and "d" in there(warehouse), 20, 0.5)  # the first goes on


def test_verify_does_not_make_the_table_that_is_gone(server, warehouse):
    made = server.create_export(warehouse.destination(), paused=True)
    assert server.capture([{"event": "x", "distinct_id": "d"}]).status_code == 200
    assert server.backfilled(made, server.backfill(made))["status"] == "Completed"
    warehouse.admin.execute(f"DROP TABLE {warehouse.schema}.events")

    def lost():
        said = server.api("GET", f"/api/projects/1/batch_exports/{made['id']}/verify/",
                          params={"start": "-10m", "recount": "true"})
        return said if said["expected_there"] == 1 else None
    said = wait_for(lost, 20, 0.5)
    assert not said["ok"] and said["found_there"] == 0
    assert not warehouse.exists()
