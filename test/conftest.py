"""Fixtures shared by e2e, sdk and fault: the server under test and a real PostgreSQL."""

import itertools
import json
import os
import pathlib
import subprocess
import sys

import psycopg
import pytest

TEST = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(TEST / "lib"))

from harness import Server  # noqa: E402

schema_numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "threads: also run with the ThreadSanitizer build")


@pytest.fixture
def server(tmp_path):
    """A started server on a fresh data folder; afterwards it must stop cleanly and leave no report."""
    it = Server(tmp_path / "data")
    it.start()
    yield it
    if it.alive():
        status = it.stop()
        assert status == 0, f"exit status {status}\n{it.log()}"
    it.check_clean()


@pytest.fixture
def make_server(tmp_path):
    """make_server(*args, env=...) for tests that need options or several servers; killed afterwards."""
    made = []

    def make(*args, env=None, name=None, start=True):
        it = Server(tmp_path / (name or f"data{len(made)}"), args, env)
        made.append(it)
        return it.start() if start else it

    yield make
    for it in made:
        if it.alive():
            it.kill()
        it.check_clean()


@pytest.fixture(scope="session")
def pg_conninfo(tmp_path_factory):
    """Where a real PostgreSQL listens: TR_TEST_PG, or one started here for the session."""
    given = os.environ.get("TR_TEST_PG")
    if given:
        yield given
        return
    folder = tmp_path_factory.mktemp("pg")
    for parent in [folder, *folder.parents][:4]:
        if parent.owner() == pathlib.Path.home().owner():
            parent.chmod(0o755)
    script = str(TEST / "lib" / "pg.sh")
    out = subprocess.run(["bash", script, "start", str(folder)], check=True, text=True, stdout=subprocess.PIPE).stdout
    yield out.strip().splitlines()[-1]
    subprocess.run(["bash", script, "stop", str(folder)], check=False)


class Warehouse:
    """A schema of its own with a user that may do what the docs say and no more; read by psycopg."""

    def __init__(self, conninfo):
        self.conninfo = conninfo
        self.admin = psycopg.connect(conninfo, autocommit=True)
        number = f"{os.getpid()}_{next(schema_numbers)}"
        self.schema, self.user, self.password = f"exports_{number}", f"tailrace_{number}", "sekrit-of-the-warehouse"
        self.admin.execute(f"CREATE USER {self.user} WITH PASSWORD '{self.password}'")
        self.admin.execute(f"CREATE SCHEMA {self.schema}")
        self.admin.execute(f"GRANT CREATE, USAGE ON SCHEMA {self.schema} TO {self.user}")

    def destination(self, port=None, **config):
        info = psycopg.conninfo.conninfo_to_dict(self.conninfo)
        return {"type": "Postgres", "config": {
            "host": info["host"], "port": int(port or info["port"]), "user": self.user, "password": self.password,
            "database": info["dbname"], "schema": self.schema, "table_name": "events", "sslmode": "disable", **config}}

    def query(self, sql, *args):
        return self.admin.execute(sql.replace("EVENTS", f"{self.schema}.events"), args or None).fetchall()

    def exists(self):
        return self.admin.execute("SELECT to_regclass(%s)", [f"{self.schema}.events"]).fetchone()[0] is not None

    def uuids(self):
        """Every uuid in the table, sorted, copies included."""
        return [row[0] for row in self.query("SELECT uuid FROM EVENTS ORDER BY 1")] if self.exists() else []

    def drop(self):
        self.admin.execute(f"DROP SCHEMA {self.schema} CASCADE")
        self.admin.execute(f"DROP OWNED BY {self.user}")
        self.admin.execute(f"DROP USER {self.user}")
        self.admin.close()


@pytest.fixture
def warehouse(pg_conninfo):
    it = Warehouse(pg_conninfo)
    yield it
    it.drop()


class BigQuery:
    """A dataset at the fake, as the destination of a server that may reach it; read from the fake itself."""

    def __init__(self, fake, dataset):
        self.fake, self.dataset = fake, dataset
        fake.add_dataset(dataset, "europe-west3")

    @property
    def args(self):
        """What the server must be started with."""
        return ["--allow-hosts", self.fake.host, "--iam-hosts", self.fake.host]

    def destination(self, **config):
        it = {"key_file": json.dumps(self.fake.key_file()), "dataset_id": self.dataset, "table_id": "events",
              "api_endpoint": self.fake.url, "new_table_seconds": 0,
              "loads_per_10_seconds": 1000, **config}
        return {"type": "BigQuery", "config": {k: v for k, v in it.items() if v is not None}}

    def rows(self, table="events"):
        return self.fake.rows(self.dataset, table)

    def tables(self):
        return self.fake.datasets[self.dataset]["tables"]

    def table_resource(self, table="events"):
        it = self.tables().get(table)
        return it and it.resource

    def uuids(self):
        """Every uuid in the table, sorted, copies included."""
        return sorted(row["uuid"] for row in self.rows())


@pytest.fixture
def bigquery():
    from bq_fake import BigQueryFake
    fake = BigQueryFake().start()
    yield BigQuery(fake, "exports")
    fake.stop()
