"""local-bigquery behind a door as strict as Google's: tokens are checked, uploads are ended here by the letter of the
protocol (the peer appends blindly and cannot read gzip), partition decorators are refused (the peer would make a
table of that name).

    bq_proxy.py DIR    starts both, with DIR for the peer's state; prints one line of JSON: where, and the key file.
                       Ends when its standard input does.
"""

import collections
import gzip
import http.client
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import unquote, urlsplit

from google_stub import Answer, GoogleStub, error

HERE = pathlib.Path(__file__).resolve().parent
KEPT_HEADERS = ("content-type", "etag")


def install():
    """Where local-bigquery is; installed when it is not there yet."""
    cache = pathlib.Path(os.environ.get("CACHE") or os.environ.get("TAILRACE_CACHE") or
                         pathlib.Path.home() / ".cache" / "tailrace")
    script = HERE / "local_bigquery.sh"
    import hashlib
    recipe = script.read_bytes() + (HERE.parent / "requirements-local-bigquery.txt").read_bytes()
    folder = cache / ("local-bigquery-" + hashlib.sha256(recipe).hexdigest()[:12])
    subprocess.run(["bash", str(script), "install", str(folder)], check=True, stdin=subprocess.DEVNULL,
                   stdout=sys.stderr)
    return folder


def free_ports():
    """Two in a row."""
    while True:
        with socket.socket() as a, socket.socket() as b:
            a.bind(("127.0.0.1", 0))
            try:
                b.bind(("127.0.0.1", a.getsockname()[1] + 1))
                return a.getsockname()[1]
            except OSError:
                continue


class BigQueryProxy(GoogleStub):
    def __init__(self, state):
        super().__init__()
        self.state, self.peer = pathlib.Path(state), None
        self.ids = collections.defaultdict(threading.Lock)

    def start(self):
        folder = install()
        self.peer_port = free_ports()
        self.log = open(self.state / "local-bigquery.log", "ab")
        self.peer = subprocess.Popen(
            ["bash", str(HERE / "local_bigquery.sh"), "run", str(folder), str(self.state / "data"), str(self.peer_port)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        super().start()
        until = time.monotonic() + 120
        while True:
            try:
                status, _, _ = self.forward("GET", f"/bigquery/v2/projects/{self.project}/datasets", b"", {})
                if status == 200:
                    return self
            except OSError:
                pass
            if self.peer.poll() is not None or time.monotonic() > until:
                raise RuntimeError("local-bigquery did not start: " +
                                   (self.state / "local-bigquery.log").read_text()[-2000:])
            time.sleep(0.2)

    def stop(self):
        super().stop()
        if self.peer:
            self.peer.send_signal(signal.SIGTERM)
            try:
                self.peer.wait(10)
            except subprocess.TimeoutExpired:
                self.peer.kill()
                self.peer.wait()
            self.log.close()

    def forward(self, method, path, body, headers):
        c = http.client.HTTPConnection("127.0.0.1", self.peer_port, timeout=120)
        try:
            c.request(method, path, body or None, {**headers, "Host": self.host, "X-Forwarded-Proto": "http"})
            r = c.getresponse()
            return r.status, r.getheaders(), r.read()
        finally:
            c.close()

    @staticmethod
    def refuse_decorators(text):
        if re.search(r'"tableId"\s*:\s*"[^"]*\$', text):
            raise error(501, "notImplemented", "partition decorators are not passed to the peer")

    def bigquery(self, request):
        if "$" in unquote(request.path):
            raise error(501, "notImplemented", "partition decorators are not passed to the peer")
        self.refuse_decorators(request.body.decode("utf-8", "replace"))
        headers = {k: v for k, v in request.headers.items() if k.lower() in ("content-type", "content-encoding")}
        status, got, body = self.forward(request.method, request.line.split(" ", 1)[1], request.body, headers)
        return Answer(status, body, [(k, v) for k, v in got if k.lower() in KEPT_HEADERS])

    def check_job(self, job):
        self.refuse_decorators(json.dumps(job))
        if not job.get("jobReference", {}).get("location"):
            raise error(400, "required", "jobReference.location must be sent")

    def finish_upload(self, job, content):
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        # Two jobs of one id at the same time are an internal error of the peer: here the second is a duplicate.
        with self.ids[job["jobReference"].get("jobId")]:
            return self.upload_to_peer(job, content)

    def upload_to_peer(self, job, content):
        path = f"/upload/bigquery/v2/projects/{self.project}/jobs?uploadType=resumable"
        # Under a schema the peer takes a JSON column's string for JSON text; without one it goes by the table.
        if any(f["type"] == "JSON" for f in job["configuration"]["load"].get("schema", {}).get("fields", [])):
            job = json.loads(json.dumps(job))
            del job["configuration"]["load"]["schema"]
        status, got, body = self.forward("POST", path, json.dumps(job).encode(), {"Content-Type": "application/json"})
        if status == 200:
            to = urlsplit({k.lower(): v for k, v in got}["location"])
            status, got, body = self.forward("PUT", f"{to.path}?{to.query}", content,
                                             {"Content-Type": "application/octet-stream"})
        return Answer(status, body, [(k, v) for k, v in got if k.lower() in KEPT_HEADERS])


def main():
    state = pathlib.Path(sys.argv[1])
    state.mkdir(parents=True, exist_ok=True)
    proxy = BigQueryProxy(state)
    try:
        proxy.start()
        key = state / "key.json"
        key.write_text(json.dumps(proxy.key_file()))
        print(json.dumps({"url": proxy.url, "host": proxy.host, "key": str(key)}), flush=True)
        sys.stdin.read()
    finally:
        proxy.stop()


if __name__ == "__main__":
    main()
