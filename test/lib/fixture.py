"""An installation at rest: a data folder, a PostgreSQL schema, BigQuery's content and a folder of files.

`test/fixture/make.py` makes one with the binary of a release, `test/fault/test_upgrade.py` opens it with the binary of
today. The places of its exports are part of what it is, so they are the same wherever it is opened.
"""

import fcntl
import json
import lzma
import os
import pathlib
import shutil
import socket
import subprocess
import tarfile
import threading
import time

import psycopg
from bq_fake import BigQueryFake, Table
from cryptography.hazmat.primitives import serialization

POSTGRES_PORT, BIGQUERY_PORT = 21432, 21443
FILES = pathlib.Path("/tmp/tailrace-fixture-files")
SCHEMA, USER, PASSWORD = "tailrace_fixture", "tailrace_fixture", "only-of-the-fixture"
TABLES = {"postgres events": "events", "postgres persons": "persons", "postgres sessions": "sessions",
          "postgres groups": "groups"}


class Alone:
    """One process at a time has these ports and this folder."""

    def __enter__(self):
        self.file = open("/tmp/tailrace-fixture.lock", "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *_):
        self.file.close()


class Forwarder:
    """A fixed port of loopback that leads to the PostgreSQL of today."""

    def __init__(self, port, upstream):
        self.upstream = upstream
        self.listener = socket.create_server(("127.0.0.1", port))

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
                server = socket.create_connection(self.upstream)
            except OSError:
                return
            for a, b in ((client, server), (server, client)):
                threading.Thread(target=self.pump, args=(a, b), daemon=True).start()

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


# ---- PostgreSQL ----

def programs(name):
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1])


def upstream(conninfo):
    info = psycopg.conninfo.conninfo_to_dict(conninfo)
    return info["host"], int(info["port"])


def make_user(admin):
    if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [USER]).fetchone():
        admin.execute(f"CREATE USER {USER} WITH PASSWORD '{PASSWORD}'")


def drop_schema(admin):
    admin.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE")


def dump_postgres(conninfo, path):
    out = subprocess.run([programs("pg_dump"), "-d", conninfo, "-n", SCHEMA], check=True, stdout=subprocess.PIPE).stdout
    path.write_bytes(lzma.compress(out))


def restore_postgres(conninfo, path):
    with psycopg.connect(conninfo, autocommit=True) as admin:
        make_user(admin)
        drop_schema(admin)
    subprocess.run([programs("psql"), "-qX", "-v", "ON_ERROR_STOP=1", "-d", conninfo], check=True,
                   input=lzma.decompress(path.read_bytes()), stdout=subprocess.DEVNULL)


def rows_of_postgres(conninfo):
    """Every row of every table of the exports, as PostgreSQL prints it, sorted."""
    with psycopg.connect(conninfo, autocommit=True) as admin:
        return {name: sorted(r[0] for r in admin.execute(f"SELECT to_jsonb(t)::text FROM {SCHEMA}.{name} AS t"))
                for name in TABLES.values()}


# ---- BigQuery ----

def fake_at_home():
    fake = BigQueryFake(port=BIGQUERY_PORT)
    return fake


def dump_bigquery(fake, path):
    with fake.lock:
        text = json.dumps({
            "key": fake.account.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
            "datasets": {name: {**d, "tables": {
                t: {"resource": x.resource, "rows": x.rows, "loads": x.loads, "made": x.made, "count": x.count}
                for t, x in d["tables"].items()}} for name, d in fake.datasets.items()},
            "jobs": [[*key, {k: v for k, v in job.items() if k not in ("lock", "content", "fault")}]
                     for key, job in fake.jobs.items()]})
    path.write_bytes(lzma.compress(text.encode()))


def restore_bigquery(fake, path):
    it = json.loads(lzma.decompress(path.read_bytes()))
    fake.account.key = serialization.load_pem_private_key(it["key"].encode(), None)
    for name, d in it["datasets"].items():
        fake.datasets[name] = {**d, "tables": {}}
        for t, saved in d["tables"].items():
            table = Table(saved["resource"])
            table.rows, table.loads, table.made, table.count = (saved[k] for k in ("rows", "loads", "made", "count"))
            fake.datasets[name]["tables"][t] = table
    for location, name, job in it["jobs"]:
        fake.jobs[location, name] = {**job, "lock": threading.Lock(), "content": None, "fault": None}


def rows_of_bigquery(fake):
    with fake.lock:
        return {name: sorted(json.dumps(r, sort_keys=True) for r in table.rows)
                for name, table in fake.datasets["exports"]["tables"].items() if not name.endswith("_test")}


# ---- folders ----

def pack(folder, path):
    with tarfile.open(path, "w:xz") as tar:
        tar.add(folder, arcname=".")


def unpack(path, folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with tarfile.open(path) as tar:
        tar.extractall(folder)
    for root, folders, files in os.walk(folder):
        for name in folders + files:
            shutil.chown(os.path.join(root, name), os.getuid(), os.getgid())


# ---- time ----

def instant(text):
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone


# ---- the verdict ----

def must_balance(server, export):
    """`verify --recount` is content; files cannot be asked for single rows of persons."""
    recount = export["name"] != "file persons"
    verdict = server.api("GET", f"/api/projects/1/batch_exports/{export['id']}/verify/",
                         params={"recount": "true"} if recount else {})
    assert verdict["ok"], (export["name"], verdict)
    return verdict
