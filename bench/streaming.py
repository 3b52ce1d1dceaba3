"""Real time into BigQuery: how soon events are there, what a backlog costs, against a sink that only counts.

The sink is the strict fake (test/lib/bq_fake.py) up to the rows: tokens, tables, requests; of rows it keeps the
insertIds, to count them, and the instants at which they came. One Python process takes some 60 MB/s on one core,
which is most of what the machine has beside the server: the rates are a lower bound.
"""

import json
import multiprocessing
import re
import subprocess
import threading
import time
import uuid

from bq_fake import BigQueryFake
from google_stub import Answer
from harness import wait_for

RATE = 5000  # events a second while nothing is wrong
PERIOD = 0.02
DONE = {"kind": "bigquery#tableDataInsertAllResponse"}


class Sink(BigQueryFake):
    def __init__(self, ids):
        super().__init__()
        self.add_dataset("exports", "EU")
        self.ids = open(ids, "wb")
        self.dead = False
        self.rows = 0
        self.waits = []  # seconds from capture's answer at the earliest to here
        self.counting = threading.Lock()

    def bigquery(self, request):
        if not request.path.endswith("/insertAll"):
            return super().bigquery(request)
        now = time.time()
        if self.dead:
            raise Answer(503, {"error": {"code": 503, "message": "down", "errors": [{"reason": "backendError"}]}})
        ids = re.findall(rb'"insertId":"([^"]*)"', request.body)
        sent = re.findall(rb'\\"sent_us\\":(\d+)', request.body)
        with self.counting:
            self.ids.write(b"\n".join(ids) + b"\n")
            self.rows += len(ids)
            self.waits += [now - int(t) / 1e6 for t in sent]
        return Answer(200, DONE)

    def distinct(self):
        self.ids.flush()
        done = subprocess.run(f"LC_ALL=C sort -u -S 512M '{self.ids.name}' | wc -l", shell=True, check=True, text=True,
                              stdout=subprocess.PIPE)
        return int(done.stdout)

    def destination(self):
        return {"type": "BigQuery", "config": {"key_file": json.dumps(self.key_file()), "dataset_id": "exports",
                                               "table_id": "events", "api_endpoint": self.url,
                                               "new_table_seconds": 0}}


def pace(port, token, stop, sent):
    """A process: RATE events a second, whatever the answers take, each with the instant at which it was made."""
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", port)
    each = int(RATE * PERIOD)
    filler = "z" * 700
    due = time.monotonic()
    while not stop.is_set():
        events = ",".join(f'{{"event":"$pageview","distinct_id":"u{i}","uuid":"{uuid.uuid4()}","properties":'
                          f'{{"sent_us":{time.time_ns() // 1000},"t":"{filler}"}}}}' for i in range(each))
        connection.request("POST", "/batch/", f'{{"api_key":"{token}","batch":[{events}]}}',
                           {"Content-Type": "application/json"})
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200
        sent.value += each
        due += PERIOD
        time.sleep(max(0.0, due - time.monotonic()))


class Pacer:
    def __init__(self, server):
        self.stopping = multiprocessing.Event()
        self.sent = multiprocessing.Value("q", 0)
        self.process = multiprocessing.Process(target=pace, args=(server.port, server.capture_token(), self.stopping,
                                                                  self.sent), daemon=True)

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.process.join(20)


def lag(server):
    return server.api("GET", "/api/status/")["exports"][0]["lag_seconds"]


def quantile(values, q):
    return sorted(values)[int(len(values) * q)]


def begin(bench, name):
    """A sink, a server, and an export in real time that has delivered its first event."""
    sink = Sink(bench.folder / f"ids-{name}").start()
    server = bench.server("--allow-hosts", sink.host)
    server.create_export(sink.destination(), interval="realtime")
    server.capture([{"event": "first", "distinct_id": "u", "uuid": str(uuid.uuid4())}])
    wait_for(lambda: sink.rows == 1)
    return sink, server


def latency(bench, record, seconds=40):
    sink, server = begin(bench, "latency")
    with Pacer(server) as pacer:
        time.sleep(8)
        early, cpu = server.rss_bytes(), server.cpu_seconds()
        before, began = pacer.sent.value, time.monotonic()
        sink.waits.clear()
        time.sleep(seconds)
        events, took = pacer.sent.value - before, time.monotonic() - began
        waits = list(sink.waits)
        late = server.rss_bytes()
        cpu = server.cpu_seconds() - cpu
    wait_for(lambda: sink.rows == pacer.sent.value + 1, 30)
    assert sink.distinct() == sink.rows
    record("streaming, 99 % are there within", quantile(waits, 0.99), "s", "<= 3", events_per_s=round(events / took),
           half_within_s=round(quantile(waits, 0.5), 2), slowest_s=round(max(waits), 2),
           cpu_us_per_event=round(cpu / events * 1e6, 1))
    record("streaming, memory after / before", late / early, "ratio", "about 1", mib=round(late / 2**20))
    server.kill()
    sink.stop()


def backlog(bench, record, fill, stored, events=5_000_000):
    sink, server = begin(bench, "backlog")
    sink.dead = True
    fill(bench, server, server.capture_token(), events)
    time.sleep(2)
    behind, shown = stored(server) - sink.rows, lag(server)
    early = server.rss_bytes(peak=True)
    with Pacer(server) as pacer:
        time.sleep(3)
        first = sink.rows
        sink.dead = False
        wait_for(lambda: sink.rows > first, 60, 0.01)
        began, cpu = time.monotonic(), server.cpu_seconds()
        lags = []
        while not lags or lags[-1] > 3:
            time.sleep(1)
            lags.append(lag(server))
            assert len(lags) < 900
        took, caught_up, cpu = time.monotonic() - began, sink.rows - first, server.cpu_seconds() - cpu
        live = pacer.sent.value
    wait_for(lambda: sink.rows == stored(server), 60)
    assert sink.distinct() == sink.rows, "rows came twice"
    assert live > 0
    record("streaming, a backlog is caught up at / live rate", caught_up / took / RATE, "times", ">= 10",
           behind=int(behind), seconds=round(took, 1), events_per_s=round(caught_up / took),
           cpu_us_per_event=round(cpu / caught_up * 1e6, 1), lag_shown_s=round(shown),
           lag_at_half_s=round(lags[len(lags) // 2]), rows_twice=0)
    record("streaming, peak memory with a backlog", server.rss_bytes(peak=True) / 2**20, "MiB", "< 128",
           before_mib=round(early / 2**20))
    server.kill()
    sink.stop()
