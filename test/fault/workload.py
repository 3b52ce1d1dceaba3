"""Load with a memory: what was sent, what was acknowledged."""

import collections
import json
import random
import threading
import time
import uuid

import requests


def make_event(n, stamp="2026-11-20T12:00:00Z"):
    return {"event": f"event {n % 5}", "distinct_id": f"user-{n % 11}", "uuid": str(uuid.uuid4()), "timestamp": stamp,
            "properties": {"n": n, "text": "x" * (n % 300)}}


class Load:
    """Threads that send batches and remember; a batch without an answer is sent again, as SDKs do."""

    def __init__(self, server, threads=4, batch=7):
        self.server, self.batch = server, batch
        self.acknowledged, self.sent = set(), set()
        self.lock, self.stopping = threading.Lock(), threading.Event()
        self.token = server.capture_token()
        self.threads = [threading.Thread(target=self._run, args=(i,)) for i in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def _run(self, seed):
        rng = random.Random(seed)
        n = seed * 1_000_000
        session = requests.Session()
        while not self.stopping.is_set():
            events = [make_event(n + i) for i in range(1 + rng.randrange(self.batch))]
            n += len(events)
            ids = [e["uuid"] for e in events]
            with self.lock:
                self.sent.update(ids)
            for _ in range(60):
                if self._send(session, events):
                    with self.lock:
                        self.acknowledged.update(ids)
                    break
                session = requests.Session()
                time.sleep(0.1)
                if self.stopping.is_set():
                    break

    def _send(self, session, events):
        try:
            answer = session.post(self.server.url + "/batch/", timeout=20,
                                  data=json.dumps({"api_key": self.token, "batch": events}))
            return answer.status_code == 200
        except requests.RequestException:
            return False


def must_be_once(found, acknowledged, sent):
    """found: every uuid at the destination, copies included."""
    counts = collections.Counter(found)
    copies = {u: n for u, n in counts.items() if n > 1}
    missing = acknowledged - counts.keys()
    strangers = counts.keys() - sent
    assert not copies, f"{len(copies)} events more than once"
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged events are missing"
    assert not strangers, f"{len(strangers)} rows that nobody sent"
