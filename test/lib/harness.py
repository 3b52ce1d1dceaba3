"""The real binary under test: started, spoken to, killed, started again."""

import datetime
import json
import os
import pathlib
import re
import select
import signal
import subprocess
import time

import requests

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
SANITIZER_REPORT = re.compile(r"(ERROR|WARNING): (Address|Leak|Thread|Undefined)?Sanitizer|runtime error:")


def binary():
    return os.environ.get("TAILRACE_BIN", str(TOP / "build/dev/src/app/tailrace"))


def wait_for(what, seconds=30, step=0.05):
    """Calls what() until it gives something true, and returns that."""
    until = time.monotonic() + seconds
    while True:
        got = what()
        if got:
            return got
        if time.monotonic() > until:
            raise AssertionError(f"waited {seconds} s in vain")
        time.sleep(step)


class Server:
    """`tailrace serve` on a data folder and a free port of loopback."""

    def __init__(self, data, args=(), env=None):
        self.data = pathlib.Path(data)
        self.args = list(args)
        self.env = env or {}
        self.wrap = []  # a command that runs it: prlimit, strace
        self.process = None
        self.port = 0
        self.log_path = self.data.parent / (self.data.name + ".log")
        self.log_path.touch()

    # ---- life ----

    def start(self, env=None, args=(), ready=True):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrap, binary(), "serve", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}",
                 *self.args, *args],
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL,
                env={**os.environ, **self.env, **(env or {})})
        if not ready:
            return self
        if not select.select([self.process.stdout], [], [], 60)[0]:
            raise AssertionError(f"not ready after 60 s\n{self.log()}")
        line = self.process.stdout.readline().decode()
        found = re.match(r"tailrace ready on http://127\.0\.0\.1:(\d+) ", line)
        assert found, f"instead of the ready line: {line!r}\n{self.log()}"
        self.port = int(found.group(1))  # the same one after a restart
        return self

    def stop(self, seconds=30):
        """SIGTERM; returns the exit status."""
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop within {seconds} s of SIGTERM\n{self.log()}") from None
        self.process.stdout.close()
        self.process = None
        return status

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process = None

    def died(self, seconds=60):
        """Waits until the process is gone (a kill point) and returns its status."""
        status = self.process.wait(seconds)
        self.process.stdout.close()
        self.process = None
        return status

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")[-8000:]

    def check_clean(self):
        """No sanitizer had anything to say."""
        text = self.log_path.read_text(errors="replace")
        found = SANITIZER_REPORT.search(text)
        assert not found, text[max(0, found.start() - 200):found.start() + 6000]

    def rss_bytes(self, peak=False):
        field = "VmHWM" if peak else "VmRSS"
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{field}:\s+(\d+)", text).group(1)) * 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # ---- speaking ----

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def owner_token(self):
        return (self.data / "owner-token").read_text().strip()

    def api(self, method, path, body=None, expect=None, token=None, params=None):
        """One call of the REST API; the answer's JSON. expect: the status it must have (default: 2xx)."""
        answer = requests.request(method, self.url + path, json=body, params=params, timeout=60, headers={
            "Authorization": f"Bearer {self.owner_token if token is None else token}"})
        good = answer.status_code == expect if expect else answer.ok
        assert good, f"{method} {path}: {answer.status_code} {answer.text}\n{self.log()}"
        return answer.json() if answer.content else None

    def capture_token(self, project=1):
        return self.api("GET", f"/api/projects/{project}/")["api_token"]

    def capture(self, events, token=None, path="/batch/", **kwargs):
        body = {"api_key": token or self.capture_token(), "batch": events, **kwargs}
        return requests.post(self.url + path, json=body, timeout=60)

    def cli(self, *args, expect=0, token=True):
        env = {**os.environ, "TAILRACE_SERVER": self.url}
        if token:
            env["TAILRACE_TOKEN"] = self.owner_token
        done = subprocess.run([binary(), *map(str, args)], capture_output=True, text=True, timeout=120, env=env,
                              stdin=subprocess.DEVNULL)
        assert done.returncode == expect, f"{args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout) if "--json" in args else done.stdout

    def create_export(self, destination, interval="every 5 seconds", project=1, **more):
        return self.api("POST", f"/api/projects/{project}/batch_exports/", {
            "name": "test", "model": "events", "interval": interval, "destination": destination, "test": False, **more})

    def runs(self, export, project=1, **params):
        return self.api("GET", f"/api/projects/{project}/batch_exports/{export['id']}/runs/",
                        params=params)["results"]

    def backfill(self, export, start="2026-01-01T00:00:00Z", project=1, **more):
        """Everything until now, whatever the schedule."""
        path = f"/api/projects/{project}/batch_exports/{export['id']}/backfills/"

        def make():
            end = datetime.datetime.now(datetime.timezone.utc).isoformat()
            answer = requests.post(self.url + path, json={"start_at": start, "end_at": end, **more}, timeout=60,
                                   headers={"Authorization": f"Bearer {self.owner_token}"})
            return answer.json() if answer.status_code == 201 else None
        return wait_for(make, 10)

    def backfilled(self, export, backfill, seconds=60, project=1):
        """Waits for its end."""
        path = f"/api/projects/{project}/batch_exports/{export['id']}/backfills/{backfill['id']}/"

        def ended():
            b = self.api("GET", path)
            return b if b["status"] in ("Completed", "Failed", "Cancelled") else None
        return wait_for(ended, seconds, 0.1)

    def metric(self, name):
        text = requests.get(self.url + "/metrics", timeout=30).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return float(found.group(1)) if found else 0.0


def file_destination(folder, **config):
    return {"type": "File", "config": {"path": str(folder), "file_format": "JSONLines", **config}}


def rows_in(folder):
    """Every row of every published file, as the files' own reader would find them."""
    rows = []
    for manifest in sorted(pathlib.Path(folder).rglob("*_manifest.json")):
        for entry in json.loads(manifest.read_text())["files"]:
            name = entry["name"] if isinstance(entry, dict) else entry
            raw = (manifest.parent / name).read_bytes()
            if name.endswith(".gz"):
                import gzip
                raw = gzip.decompress(raw)
            elif name.endswith(".zst"):
                import zstandard
                raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
            rows += [json.loads(line) for line in raw.decode().split("\n") if line]
    return rows
