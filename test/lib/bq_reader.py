"""What is in BigQuery, read with Google's own client, never through the adapter.

    bq_reader.py URL KEY-FILE    answers one JSON command a line with one JSON line, until its input ends.
"""

import json
import sys

from google.api_core.client_options import ClientOptions
from google.api_core.exceptions import NotFound
from google.cloud import bigquery
from google.oauth2 import service_account


def client(url, key):
    credentials = service_account.Credentials.from_service_account_info(
        key, scopes=["https://www.googleapis.com/auth/bigquery"])
    return bigquery.Client(project=key["project_id"], credentials=credentials,
                           client_options=ClientOptions(api_endpoint=url))


class Reader:
    def __init__(self, url, key):
        self.client = client(url, key)
        self.project = key["project_id"]

    def dataset(self, name, location="EU"):
        it = bigquery.Dataset(f"{self.project}.{name}")
        it.location = location
        self.client.create_dataset(it)

    def ask(self, sql):
        """The first value of the first row; null when there is none or no such table."""
        try:
            rows = list(self.client.query_and_wait(sql))
        except NotFound:
            return None
        value = rows[0][0] if rows else None
        return value if isinstance(value, (int, float, str, type(None))) else json.dumps(value, default=str)

    def values(self, sql):
        """All rows, each a list of its values."""
        return [list(r.values()) for r in self.client.query_and_wait(sql)]

    def same_json(self, sql, text):
        """The value, JSON or its text, holds the same as this JSON."""
        value = self.ask(sql)
        return value is not None and json.loads(value) == json.loads(text)

    def table(self, name):
        """Its columns and what else matters, or null."""
        try:
            t = self.client.get_table(f"{self.project}.{name}")
        except NotFound:
            return None
        return {"columns": [[f.name, f.field_type, f.mode] for f in t.schema],
                "partition": t.time_partitioning and [t.time_partitioning.type_, t.time_partitioning.field],
                "expires": t.expires is not None}

    def count(self, name):
        """Rows of a table, by reading all of them."""
        try:
            return sum(1 for _ in self.client.list_rows(self.client.get_table(f"{self.project}.{name}")))
        except NotFound:
            return 0

    def tables(self, dataset):
        return sorted(t.table_id for t in self.client.list_tables(f"{self.project}.{dataset}"))

    def do(self, sql):
        self.client.query_and_wait(sql)


def main():
    with open(sys.argv[2], encoding="utf-8") as f:
        reader = Reader(sys.argv[1], json.load(f))
    for line in sys.stdin:
        name, *args = json.loads(line)
        try:
            answer = {"ok": getattr(reader, name)(*args)}
        except Exception as e:  # the test shows it
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer, default=str), flush=True)


if __name__ == "__main__":
    main()
