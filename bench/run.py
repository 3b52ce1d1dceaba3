"""Every performance statement, measured with its floor in the same run.

Each figure is a ratio of paired rounds (ours, floor, ours, floor, ..), the median quoted; CPU seconds come
from the kernel's accounts of the server process. Results go to standard output and, as JSON, to --out.
Loopback only; every round is bounded in time.
"""

import argparse
import contextlib
import json
import os
import pathlib
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "test" / "lib"))

import streaming  # noqa: E402
from harness import Server, file_destination, wait_for  # noqa: E402

NGINX = """worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; client_body_buffer_size 256k; client_max_body_size 64m;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{ listen 127.0.0.1:{port} backlog=4096;
    location / {{ default_type application/json; return 200 '{{"status":"Ok"}}'; }} }} }}
"""
results = {}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def record(name, value, unit, wanted=None, **more):
    results[name] = {"value": value, "unit": unit, "wanted": wanted, **more}
    note = f" (wanted {wanted})" if wanted else ""
    print(f"{name}: {value:.3g} {unit}{note}  {more if more else ''}", flush=True)


class Bench:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.load_binary = self.folder / "load"
        subprocess.run(["gcc", "-O2", "-D_GNU_SOURCE", "-o", self.load_binary, TOP / "bench/load.c"], check=True)
        self.number = 0
        self.servers = []

    def server(self, *args):
        self.number += 1
        self.servers.append(Server(self.folder / f"data{self.number}", args).start())
        return self.servers[-1]

    def stop(self):
        """Nothing is left running, whatever a part ended with."""
        for server in self.servers:
            if server.alive():
                server.kill()

    def nginx(self):
        port = free_port()
        folder = self.folder / "nginx"
        folder.mkdir(exist_ok=True)
        (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
        process = subprocess.Popen(["nginx", "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")])
        wait_for(lambda: accepts(port), 10)
        return process, port

    def load(self, port, seconds=4, tokens=("none",), **options):
        argv = [str(self.load_binary), str(port), "--seconds", str(seconds), "--tokens", ",".join(tokens)]
        for name, value in options.items():
            argv += [f"--{name.replace('_', '-')}", str(value)]
        return json.loads(subprocess.run(argv, check=True, stdout=subprocess.PIPE, text=True).stdout)


def stored(server):
    return server.metric('tailrace_events_total{outcome="stored"}')


def capture(bench, rounds):
    """One event per request, 64 and 1,000 keep-alive connections, against nginx `return 200`."""
    process, port = bench.nginx()
    server = bench.server()
    token = server.capture_token()
    try:
        for connections, wanted in ((64, ">= 0.5"), (1000, "no stall")):
            ratios, slowest, acknowledged = [], 0, 0
            before, cpu = stored(server), server.cpu_seconds()
            for _ in range(rounds):
                floor = bench.load(port, tokens=[token], connections=connections)  # the same bodies
                ours = bench.load(server.port, tokens=[token], connections=connections)
                ratios.append(ours["requests_per_s"] / floor["requests_per_s"])
                slowest = max(slowest, ours["max_us"])
                acknowledged += ours["events"]
            kept = stored(server) - before
            # Requests in flight when the load stopped are stored too, though nobody heard.
            assert 0 <= kept - acknowledged <= rounds * connections, f"{kept} stored, {acknowledged} acknowledged"
            record(f"capture, {connections} connections / nginx", statistics.median(ratios), "of nginx", wanted,
                   requests_per_s=ours["requests_per_s"], slowest_ms=slowest / 1000,
                   cpu_us_per_event=round((server.cpu_seconds() - cpu) / kept * 1e6, 2))
        record("capture, peak memory", server.rss_bytes(peak=True) / 2**20, "MiB", "< 128")
    finally:
        process.terminate()
        process.wait()
        server.kill()


def batches(bench, rounds):
    """Batches of 50; then the same over 50 projects, paired with one."""
    server = bench.server()
    tokens = [server.capture_token()]
    for i in range(49):
        tokens.append(server.api("POST", "/api/projects/", {"name": f"p{i}"})["api_token"])
    one, many = [], []
    cpu, before = server.cpu_seconds(), stored(server)
    for _ in range(rounds):
        one.append(bench.load(server.port, tokens=tokens[:1], batch=50)["events_per_s"])
        many.append(bench.load(server.port, tokens=tokens, batch=50)["events_per_s"])
    events = stored(server) - before
    record("capture, batches of 50", statistics.median(one), "events/s", ">= 150000",
           cpu_us_per_event=round((server.cpu_seconds() - cpu) / events * 1e6, 2))
    record("capture, 50 projects / one", statistics.median(m / o for m, o in zip(many, one)), "ratio", ">= 0.8")
    record("batches, peak memory", server.rss_bytes(peak=True) / 2**20, "MiB", "< 128")
    server.kill()


def big_bodies(bench, _):
    """1,000 connections, each sending 20 MiB; those that are not taken get 503 and a whole answer."""
    server = bench.server()
    token = server.capture_token()
    event = json.dumps({"event": "big", "distinct_id": "u", "properties": {"t": "z" * 900_000}})
    body = f'{{"api_key": "{token}", "batch": [{", ".join([event] * 22)}]}}'.encode()
    head = (f"POST /batch/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    statuses, lock = {}, threading.Lock()

    def send(sock):
        status = "cut"
        try:
            sock.settimeout(120)
            sock.sendall(head)
            for at in range(0, len(body), 262144):
                sock.sendall(body[at:at + 262144])
            status = sock.recv(4096).split(b" ")[1].decode()
        except (OSError, IndexError):
            pass
        with lock:
            statuses[status] = statuses.get(status, 0) + 1

    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(1000)]
    threads = [threading.Thread(target=send, args=(s,)) for s in sockets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    record("1,000 connections x 20 MiB, peak memory", server.rss_bytes(peak=True) / 2**20, "MiB", "< 128",
           answers=statuses)
    server.kill()


def fill(bench, server, token, events):
    """About so many events, in the store and sealed as they come."""
    before = stored(server)
    while stored(server) - before < events:
        bench.load(server.port, tokens=[token], batch=50, seconds=2)


def run_took(run):
    from datetime import datetime
    parse = lambda t: datetime.fromisoformat(t.replace("Z", "+00:00"))  # noqa: E731
    return (parse(run["finished_at"]) - parse(run["started_at"])).total_seconds()


def backfill(server, export, start, end, on_delivered="skip"):
    made = server.api("POST", f"/api/projects/1/batch_exports/{export['id']}/backfills/",
                      {"start_at": start, "end_at": end, "on_delivered": on_delivered})
    path = f"/api/projects/1/batch_exports/{export['id']}/backfills/{made['id']}/"
    done = wait_for(lambda: (lambda b: b if b["status"] in ("Completed", "Failed", "Cancelled") else None)(
        server.api("GET", path)), 600, 0.5)  # seldom: the processors are what is measured
    assert done["status"] == "Completed", done
    return [r for r in server.runs(export) if r["backfill_id"] == made["id"] and r["records_completed"]]


class Behind:
    """How far what is derived is behind what is stored, looked at all the while."""

    def __init__(self, server):
        self.server, self.worst, self.stopping = server, 0, threading.Event()
        self.thread = threading.Thread(target=self.look)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()

    def look(self):
        time.sleep(1)  # after a pause everything is as old as the pause
        while not self.stopping.is_set():
            store = self.server.api("GET", "/api/status/")["store"]
            if store["applied_through"] is None:
                continue
            self.worst = max(self.worst, instant(store["closed_through"]) - instant(store["applied_through"]))
            time.sleep(0.2)


def persons(bench, rounds):
    """Of ten events three write a person and seven are of a session, 50,000 people; paired with events of the same
    bytes that do neither."""
    servers = {plain: bench.server() for plain in (0, 1)}
    tokens = {plain: [server.capture_token()] for plain, server in servers.items()}
    ratios, behind, speed = [], [], {}
    cpu = {plain: server.cpu_seconds() for plain, server in servers.items()}
    for _ in range(rounds):
        for plain, server in servers.items():
            with Behind(server) as b:
                speed[plain] = bench.load(server.port, tokens=tokens[plain], batch=50, people=50_000, plain=plain,
                                          seconds=8)["events_per_s"]
            if not plain:
                behind.append(b.worst)
            wait_for(lambda s=server: caught_up(s), 60, 0.1)
        ratios.append(speed[0] / speed[1])
    each = {plain: round((server.cpu_seconds() - cpu[plain]) / stored(server) * 1e6, 2)
            for plain, server in servers.items()}
    record("capture with persons and sessions / without", statistics.median(ratios), "ratio", ">= 0.7",
           events_per_s=speed[0], cpu_us_per_event=each[0], without=each[1])
    record("applied_through behind, at worst", max(behind), "s", "<= 2", rounds=[round(b, 2) for b in behind])
    for server in servers.values():
        server.kill()


def caught_up(server):
    store = server.api("GET", "/api/status/")["store"]
    return store["applied_through"] is not None and store["applied_through"] >= store["closed_through"]


def people(bench, rounds):
    """5 million people: memory; and what a run costs by the people who changed, among few and among many."""
    import psycopg
    with postgres_server(bench) as (info, destination):
        took, rows = {}, {}
        for many in (20_000, 5_000_000):
            server = bench.server()
            token = server.capture_token()
            table = f"persons_{many}"
            export = server.create_export(destination(1, table), model="persons", interval="day", paused=True)
            bench.load(server.port, tokens=[token], batch=50, people=many, walk=1, seconds=600, events=many)
            waited = time.monotonic()
            wait_for(lambda s=server: caught_up(s), 900, 0.1)
            if many > 1_000_000:
                print(f"    new people, each in its turn: applied {time.monotonic() - waited:.0f} s after the last of them")
                record("5 million people, peak memory", server.rss_bytes(peak=True) / 2**20, "MiB", "bounded")
            times = []
            for _ in range(rounds):
                began = int(time.time() * 1e6)
                bench.load(server.port, tokens=[token], batch=50, people=10_000, walk=1, seconds=60, events=10_000)
                time.sleep(0.5)
                runs, peak = peak_of(server, lambda b=began: backfill(server, export, iso(b), iso(int(time.time() * 1e6))))
                rows[many] = sum(r["records_completed"] for r in runs)
                times.append(sum(map(run_took, runs)) / rows[many])
            took[many] = statistics.median(times)
            if many > 1_000_000:
                runs, peak = peak_of(server, lambda: backfill(server, export, iso(0), iso(began)))
                print(f"    everybody: {sum(r['records_completed'] for r in runs)} rows,"
                      f" {sum(map(run_took, runs)):.0f} s, {peak / 2**20:.0f} MiB")
                found = psycopg.connect(info).execute(f"SELECT count(*) FROM {table}").fetchone()[0]
                assert found == many, found
                record("a first run over 5 million people, peak memory", peak / 2**20, "MiB", "bounded")
            server.kill()
        record("a row of a persons run, among 5 million / 20 thousand", took[5_000_000] / took[20_000], "ratio",
               "about 1", rows=rows[5_000_000])


def instant(text):
    from datetime import datetime
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def iso(us):
    from datetime import datetime, timezone
    return datetime.fromtimestamp(us / 1e6, timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")


def peak_of(server, what):
    """Runs what() and returns its result and the most resident memory seen meanwhile."""
    (pathlib.Path("/proc") / str(server.process.pid) / "clear_refs").write_text("5")
    got = what()
    return got, server.rss_bytes(peak=True)


def runs_memory(bench, _):
    """A run of 100 thousand and one of 5 million rows, to files: the same memory."""
    server = bench.server()
    token = server.capture_token()
    paused = server.create_export(file_destination(bench.folder / "m", compression="zstd"), interval="day", paused=True)
    began = int(time.time() * 1e6)
    fill(bench, server, token, 100_000)
    middle = int(time.time() * 1e6)
    fill(bench, server, token, 5_000_000)
    end = int(time.time() * 1e6)
    time.sleep(1)
    peaks = {}
    for name, (lo, hi) in {"100k": (began, middle), "5M": (middle, end)}.items():
        rows, peaks[name] = peak_of(server, lambda lo=lo, hi=hi: backfill(server, paused, iso(lo), iso(hi)))
        print(f"    {name}: {sum(r['records_completed'] for r in rows)} rows, {peaks[name] / 2**20:.0f} MiB")
    record("memory of a run, 5M rows / 100k rows", peaks["5M"] / peaks["100k"], "ratio", "about 1",
           mib=round(peaks["5M"] / 2**20))
    server.kill()


def interval_cost(bench, rounds):
    """The same interval read from a store of one and of ten times the size."""
    server = bench.server()
    token = server.capture_token()
    export = server.create_export(file_destination(bench.folder / "i"), interval="day", paused=True)
    began = int(time.time() * 1e6)
    fill(bench, server, token, 300_000)
    middle = int(time.time() * 1e6)
    time.sleep(1)

    def read():
        took = []
        for _ in range(rounds):
            runs = backfill(server, export, iso(began), iso(middle), "append")
            took.append(sum(map(run_took, runs)))
        return statistics.median(took)

    small = read()
    fill(bench, server, token, 3_000_000)
    time.sleep(1)
    record("reading an interval, store of 10x / 1x", read() / small, "ratio", "<= 1.2")
    server.kill()


@contextlib.contextmanager
def postgres_server(bench):
    """A default server: (conninfo, destination(connections, table))."""
    import psycopg
    folder = pathlib.Path(tempfile.mkdtemp(dir=bench.folder, prefix="pg"))
    folder.chmod(0o755)
    bench.folder.chmod(0o755)
    script = str(TOP / "test/lib/pg.sh")
    info = subprocess.run(["bash", script, "start", str(folder), "durable"], check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip().splitlines()[-1]
    conf = psycopg.conninfo.conninfo_to_dict(info)

    def destination(connections, table="events"):
        return {"type": "Postgres", "config": {
            "host": conf["host"], "port": int(conf["port"]), "user": conf["user"], "password": conf["password"],
            "database": conf["dbname"], "schema": "public", "table_name": table, "sslmode": "disable",
            "connections": connections}}

    try:
        yield info, destination
    finally:
        subprocess.run(["bash", script, "stop", str(folder)], check=False, stdout=subprocess.DEVNULL)


def postgres(bench, rounds):
    """Our run against `psql \\copy` of the same rows, binary, into the same table, on a default server."""
    import psycopg
    with postgres_server(bench) as (info, destination):
        admin = psycopg.connect(info, autocommit=True)
        server = bench.server()
        token = server.capture_token()
        began = int(time.time() * 1e6)
        fill(bench, server, token, 400_000)
        end = int(time.time() * 1e6)
        time.sleep(1)

        exports = {n: server.create_export(destination(n), interval="day", paused=True) for n in (1, 2)}
        backfill(server, exports[1], iso(began), iso(end), "append")
        rows = admin.execute("SELECT count(*) FROM events").fetchone()[0]
        whole, *halves = dumps = [bench.folder / f"rows{i}.bin" for i in range(3)]
        for dump, which in zip(dumps, ("TRUE", "uuid < '8'", "uuid >= '8'")):
            with psycopg.connect(info) as reader, open(dump, "wb") as out:
                copied = f"COPY (SELECT * FROM events WHERE {which}) TO STDOUT (FORMAT binary)"
                with reader.cursor().copy(copied) as copy:
                    for block in copy:
                        out.write(block)

        def empty():
            """Every load finds the same server: what it had to write for the one before is written."""
            admin.execute("TRUNCATE events")
            admin.execute("CHECKPOINT")

        def copy_in(dumps):
            """Seconds that psql takes, one for each of them, at once."""
            empty()
            before = time.monotonic()
            peers = [subprocess.Popen(["psql", "-qX", info, "-c", f"\\copy events from '{dump}' (format binary)"])
                     for dump in dumps]
            assert not any(p.wait() for p in peers)
            return time.monotonic() - before

        ratios, second, of_two_psql, second_psql, cpu = [], [], [], [], []
        for _ in range(rounds):
            floor = copy_in([whole])
            floor_of_two = copy_in(halves)
            took = {}
            for n in (1, 2):
                empty()
                used = server.cpu_seconds()
                took[n] = sum(map(run_took, backfill(server, exports[n], iso(began), iso(end), "append")))
                if n == 1:
                    cpu.append((server.cpu_seconds() - used) / rows * 1e6)
                assert admin.execute("SELECT count(*) FROM events").fetchone()[0] == rows
            ratios.append(floor / took[1])
            second.append(took[1] / took[2])
            of_two_psql.append(floor_of_two / took[2])
            second_psql.append(floor / floor_of_two)
        record("postgres, one connection / psql \\copy binary", statistics.median(ratios), "of psql", ">= 0.9",
               rows=rows, rows_per_s=round(rows / took[1]))
        record("postgres, client CPU", statistics.median(cpu), "us a row", "<= 8")
        record("postgres, two connections / one", statistics.median(second), "ratio", ">= 1.5",
               of_two_psql=round(statistics.median(of_two_psql), 2),
               two_psql_of_one=round(statistics.median(second_psql), 2))
        server.kill()


def stream_latency(bench, _):
    """5 thousand events a second into BigQuery in real time."""
    streaming.latency(bench, record)


def stream_backlog(bench, _):
    """BigQuery dead while 5 million events come in; then it lives again, and they go on coming in."""
    streaming.backlog(bench, record, fill, stored)


PARTS = {"capture": capture, "batches": batches, "bodies": big_bodies, "memory": runs_memory, "interval": interval_cost,
         "postgres": postgres, "persons": persons, "people": people, "stream": stream_latency, "backlog": stream_backlog}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", help="write the figures there, as JSON")
    options = parser.parse_args()
    os.environ.setdefault("TAILRACE_BIN", str(TOP / "build/release/tailrace"))
    with tempfile.TemporaryDirectory(prefix="tailrace-bench-") as folder:
        bench = Bench(folder)
        try:
            for name, part in PARTS.items():
                if not options.parts or name in options.parts:
                    part(bench, options.rounds)
        finally:
            bench.stop()
    if options.out:
        pathlib.Path(options.out).write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
