"""Configurations whose target text must never change: what was delivered is known by it.

`test/fixture/<release>/targets.json` holds what each release made of them. New ones are added at the end.
"""

import json

from google_stub import Account

KEY = "@key"  # stands for a key file of project `proj`, made anew each time
PG = {"host": "db.example.com", "user": "u", "password": "p", "database": "d"}
IMPERSONATED = {"service_account_email": "loader@proj.iam.gserviceaccount.com", "project_id": "proj",
                "dataset_id": "exports"}


def pg(**config):
    return {"destination": {"type": "Postgres", "config": {**PG, **config}}}


def bq(**config):
    return {"destination": {"type": "BigQuery", "config": {**IMPERSONATED, **config}}}


def keyed(**config):
    return {"destination": {"type": "BigQuery", "config": {"key_file": KEY, "dataset_id": "exports", **config}}}


def file(**config):
    return {"destination": {"type": "File", "config": {"path": "/tmp/tailrace-targets", **config}}}


CONFIGURATIONS = [
    pg(), pg(host="DB.Example.COM"), pg(host="192.0.2.7"), pg(host="::1", sslmode="disable"),
    pg(host="2001:DB8::7"), pg(host="/var/run/Postgresql", sslmode="disable"), pg(host="localhost", sslmode="disable"),
    pg(port=5432), pg(port=6543), pg(database="Data Base"), pg(database="dä/tä"),
    pg(schema="Exports"), pg(schema="ex ports"), pg(table_name="Events"), pg(table_name="my/table"),
    pg(table_name="tailrace ☕"), pg(sslmode="verify-full"), pg(sslmode="require", has_self_signed_cert=True),
    pg(connections=4, connect_timeout_s=5), pg(user="other", password="other"),
    pg(include_events=["a"], exclude_events=["b"]),
    {**pg(), "model": "persons"}, {**pg(), "model": "sessions"}, {**pg(), "model": "groups"},
    {**pg(table_name="people"), "model": "persons"},
    {**pg(), "interval": "every 5 seconds"}, {**pg(), "interval": "day"},
    bq(), bq(table_id="Events"), bq(table_id="my table"), bq(dataset_id="Other_set"), bq(project_id="example.com:proj"),
    bq(project_id="other-project"), bq(use_json_type=True), bq(connections=8),
    bq(api_endpoint="http://127.0.0.1:21443"), bq(api_endpoint="http://127.0.0.1:21443/"),
    {**bq(), "model": "persons"}, {**bq(), "model": "sessions"}, {**bq(), "model": "groups"},
    {**bq(), "interval": "realtime"}, {**bq(table_id="live"), "interval": "realtime"},
    keyed(), keyed(project_id="elsewhere"), keyed(table_id="t", api_endpoint="http://127.0.0.1:21443"),
    file(), file(path="/tmp/tailrace-targets/"), file(path="/tmp//tailrace-targets/./x"), file(compression="zstd"),
    file(compression="gzip"), file(path="/tmp/tailrace-targets/with space"), file(include_events=["a"]),
    {**file(), "model": "persons"}, {**file(), "model": "sessions"}, {**file(), "model": "groups"},
    {**file(), "interval": "every 5 seconds"}, {**file(), "interval": "week"},
]


def with_key(entry, key):
    """The configuration with a real key file in place of the word for it."""
    config = dict(entry["destination"]["config"])
    if config.get("key_file") == KEY:
        config["key_file"] = key
    return {**entry["destination"], "config": config}


def google_key():
    """The text of a key file that asks for its tokens at Google."""
    return json.dumps(Account("loader@proj.iam.gserviceaccount.com").key_file(
        "proj", "https://oauth2.googleapis.com/token"))
