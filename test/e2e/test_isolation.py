"""Exports that do not answer or fail take no turn from those that do."""

import pathlib
import socket
import time

from harness import file_destination, rows_in, wait_for

N = 100


def nobody_answers():
    """A port that accepts and says nothing: the kernel completes the connections."""
    s = socket.create_server(("127.0.0.1", 0), backlog=4096)
    return s, s.getsockname()[1]


def hung_destination(port):
    return {"type": "Postgres", "config": {"host": "127.0.0.1", "port": port, "database": "d", "user": "u",
                                           "password": "p", "table_name": "t", "sslmode": "disable"}}


def lags(server):
    return {e["name"]: e["lag_seconds"] for e in server.api("GET", "/api/status/")["exports"]}


def test_a_hundred_that_hang_do_not_delay_a_hundred_that_do_not(make_server, tmp_path):
    server = make_server("--quiet", "0")
    listener, port = nobody_answers()
    with listener:
        for i in range(N):  # the hung ones first: they fall due first, too
            server.create_export(hung_destination(port), interval="every 5 seconds", name=f"hung {i}")
        for i in range(N):
            server.create_export(file_destination(tmp_path / f"out{i}"), interval="every 10 seconds",
                                 name=f"healthy {i}")
        event = {"event": "e", "distinct_id": "d", "timestamp": "2026-11-20T12:00:00Z"}
        assert server.capture([event]).status_code == 200
        wait_for(lambda: all(rows_in(tmp_path / f"out{i}") for i in range(N)), 60, 0.5)

        # The longest interval, what a loaded machine needs, and nothing of the minute that a connection may take.
        worst = 0.0
        until = time.monotonic() + 15
        while time.monotonic() < until:
            worst = max([worst] + [lag for name, lag in lags(server).items() if name.startswith("healthy")])
            time.sleep(1)
        assert worst < 25, f"a healthy export was {worst} s behind"
        assert min(lag for name, lag in lags(server).items() if name.startswith("hung")) > 15


def test_backfills_that_hang_leave_a_place_to_others(make_server, tmp_path):
    """One export may hang many times at once: by the runs of a backfill."""
    server = make_server("--quiet", "0")
    listener, port = nobody_answers()
    with listener:
        assert server.capture([{"event": "e", "distinct_id": "d"}]).status_code == 200
        hung = server.create_export(hung_destination(port), interval="every 5 seconds", name="hung")
        server.backfill(hung, parallel=8)
        healthy = server.create_export(file_destination(tmp_path / "out"), name="healthy")
        assert server.capture([{"event": "e", "distinct_id": "d"}]).status_code == 200
        wait_for(lambda: rows_in(tmp_path / "out"), 20)
        wait_for(lambda: len(server.runs(healthy, status="Completed")) >= 2, 20)


def test_waiting_runs_are_bounded(make_server, tmp_path):
    """By --waiting, for exports that are in doubt; one that has gone well keeps places of its own."""
    server = make_server("--workers", "2", "--waiting", "3", "--quiet", "0")
    most = 2 * (2 + 3)
    healthy = server.create_export(file_destination(tmp_path / "out"), name="healthy")
    wait_for(lambda: server.runs(healthy, status="Completed"), 20)
    listener, port = nobody_answers()
    with listener:
        for i in range(20):
            server.create_export(hung_destination(port), name=f"hung {i}")
        wait_for(lambda: server.metric("tailrace_runs_running") >= 5, 20)
        before = len(server.runs(healthy, status="Completed"))
        wait_for(lambda: len(server.runs(healthy, status="Completed")) >= before + 2, 20)
        assert server.metric("tailrace_runs_running") <= most
        tasks = pathlib.Path(f"/proc/{server.process.pid}/task").glob("*/comm")
        assert [t.read_text().strip() for t in tasks].count("tr-worker") <= most + 1
