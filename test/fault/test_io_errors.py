"""The disk answers with an error, and the network crawls: injected into the real binary's system calls."""

import os
import resource
import signal
import shutil
import socket
import subprocess
import threading
import time
import uuid

import pytest
import requests
from harness import wait_for
from workload import Load, must_be_once


class Injected:
    """strace that lets one kind of system call fail, now and then, in a running process."""

    def __init__(self, server, calls, how):
        self.process = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={calls}", "-e", f"inject={calls}:{how}",
             "-p", str(server.process.pid)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)
        if self.process.poll() is not None and server.alive():
            pytest.fail(f"strace ended: {self.process.stderr.read()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.process.wait(20)


def settle(server, warehouse, load):
    wait_for(lambda: load.acknowledged <= set(warehouse.uuids()), 90, 0.5)
    time.sleep(6)
    must_be_once(warehouse.uuids(), load.acknowledged, load.sent)


def test_a_sync_that_fails_ends_the_process_and_nothing_acknowledged_is_lost(make_server, warehouse):
    server = make_server()
    server.create_export(warehouse.destination())
    with Load(server) as load:
        time.sleep(1)
        with Injected(server, "fdatasync", "error=EIO:when=40"):
            wait_for(lambda: not server.alive(), 30, 0.05)
        server.died()
        assert "fdatasync" in server.log() and "is unknown" in server.log()
        server.start()
        time.sleep(1)
    assert len(load.acknowledged) > 50
    settle(server, warehouse, load)


@pytest.mark.parametrize("calls, how", [("pwritev", "error=EIO:when=30+7"), ("pwritev", "error=ENOSPC:when=20+3"),
                                        ("pread64", "error=EIO:when=50+50")])
def test_reads_and_writes_that_fail_now_and_then_lose_nothing(calls, how, make_server, warehouse):
    server = make_server("--seal-bytes", "128KiB", "--dedup-events", "40000")
    server.create_export(warehouse.destination())
    with Load(server, threads=3) as load:
        time.sleep(0.5)
        with Injected(server, calls, how):
            time.sleep(5)
        assert server.alive(), server.log()
        time.sleep(1)
    assert len(load.acknowledged) > 50
    settle(server, warehouse, load)


class SlowLink:
    """A TCP proxy that lets only so many bytes a second through, each way."""

    def __init__(self, port, bytes_per_s):
        self.port_there, self.rate = port, bytes_per_s
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self.port_there))
            for a, b in ((client, there), (there, client)):
                threading.Thread(target=self._pump, args=(a, b), daemon=True).start()

    def _pump(self, a, b):
        try:
            while chunk := a.recv(max(1, self.rate // 20)):
                b.sendall(chunk)
                time.sleep(len(chunk) / self.rate)
        except OSError:
            pass
        for sock in (a, b):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_a_slow_warehouse_holds_nobody_up(make_server, warehouse):
    server = make_server("--chunk-rows", "500")
    port = warehouse.destination()["config"]["port"]
    with SlowLink(port, 100_000) as link:
        server.create_export(warehouse.destination(port=link.port))
        events = [{"event": "e", "distinct_id": "d", "uuid": str(uuid.uuid4()), "properties": {"fill": "x" * 400}}
                  for _ in range(2000)]
        token = server.capture_token()
        for at in range(0, 2000, 100):
            assert server.capture(events[at:at + 100], token=token).status_code == 200
        slowest = 0
        while len(warehouse.uuids()) < 2000:  # about a megabyte
            began = time.monotonic()
            extra = {"event": "e", "distinct_id": "d", "uuid": str(uuid.uuid4()), "properties": {}}
            assert server.capture([extra], token=token).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
            assert server.api("GET", "/api/status/")["store"]["ready"]
            time.sleep(0.3)
            events.append(extra)
            assert len(events) < 2400
        assert slowest < 1
    found = warehouse.uuids()  # once: rows are still arriving
    assert len(set(found)) == len(found)


def ready(server):
    return requests.get(server.url + "/_readiness", timeout=10)


def test_a_full_disk_is_said_wherever_one_looks(make_server):
    """Full by --min-free: what is kept free is more than there is."""
    free = os.statvfs("/tmp").f_bavail * os.statvfs("/tmp").f_frsize
    server = make_server("--min-free", str(2 * free))
    answer = server.capture([{"event": "e", "distinct_id": "d"}])
    assert answer.status_code == 503 and str(server.data) not in answer.text
    answer = ready(server)
    assert answer.status_code == 503 and "full" in answer.text and "--min-free" in answer.text
    status = server.api("GET", "/api/status/")["store"]
    assert not status["ready"] and "kept free" in status["trouble"]
    wait_for(lambda: server.log().count("not ready: the disk") == 1, 10)
    time.sleep(2.5)
    assert server.log().count("not ready: ") == 1
    assert server.metric("tailrace_store_ready") == 0
    assert server.metric("tailrace_store_write_failures_total") >= 1


def test_writes_that_fail_are_said_and_so_is_that_they_are_over(make_server):
    """No file may be opened for a while: the next journal file cannot be made."""
    server = make_server("--segment-bytes", "65536")
    token = server.capture_token()
    big = [{"event": "e", "distinct_id": "d", "properties": {"p": "x" * 60000}} for _ in range(3)]
    assert server.capture(big, token=token).status_code == 200
    limits = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    kept = requests.Session()  # its connection is open already
    kept.get(server.url + "/_liveness", timeout=10)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    body = {"api_key": token, "batch": big}

    def fails():
        answer = kept.post(server.url + "/batch/", json=body, timeout=30)
        assert answer.status_code in (200, 503)
        assert str(server.data) not in answer.text
        return answer.status_code == 503
    wait_for(fails, 20)
    answer = kept.get(server.url + "/_readiness", timeout=10)
    assert answer.status_code == 503 and "events cannot be written" in answer.text
    assert str(server.data) not in answer.text
    wait_for(lambda: server.log().count("not ready: events cannot be written: ") == 1, 10)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, limits)
    wait_for(lambda: server.capture(big, token=token).status_code == 200, 20)
    assert ready(server).status_code == 200
    wait_for(lambda: "ready again" in server.log(), 10)


def test_a_slow_sender_is_given_its_time_and_then_an_answer(make_server):
    server = make_server("--body-timeout", "2s")
    token = server.capture_token()
    body = b'{"api_key": "%s", "batch": [{"event": "e", "distinct_id": "d"}]}' % token.encode()
    head = b"POST /batch/ HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.settimeout(30)
        for byte in head + body:
            s.sendall(bytes([byte]))
            time.sleep(0.005)
        assert s.recv(4096).startswith(b"HTTP/1.1 200 ")
        s.sendall(head + body[:10])  # and then silence
        assert s.recv(4096).startswith(b"HTTP/1.1 408 ")
    assert requests.get(server.url + "/_liveness", timeout=5).status_code == 200


def test_who_events_belonged_to_is_gone(make_server):
    """What cannot be derived again is missed aloud, and nothing is sealed without it."""
    server = make_server("--seal-age", "1h", "--seal-bytes", "64MiB")
    assert server.capture([{"event": "e", "distinct_id": "d", "properties": {"$set": {"a": 1}}}]).status_code == 200
    time.sleep(1.5)
    server.stop()
    shutil.rmtree(server.data / "store" / "asof")
    assert "asof" in server.cli("store", "check", "--data", server.data, expect=1, token=False)
    server.args += ["--seal-age", "1s"]
    server.start()
    trouble = wait_for(lambda: server.api("GET", "/api/status/")["store"]["trouble"])
    assert "asof has no list" in trouble
    assert "asof has no list" in server.cli("status")
    assert server.log().count("store-sealer: ") == 1
    assert server.api("GET", "/api/status/")["store"]["blocks"] == 0
    assert server.capture([{"event": "e", "distinct_id": "d", "properties": {}}]).status_code == 200
