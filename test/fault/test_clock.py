"""The wall clock steps, both ways, while the server runs and while it is down. The ingestion clock does not."""

import glob
import subprocess
import time
import uuid

import requests
from harness import file_destination, rows_in, wait_for

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")))


class Wall:
    """The wall clock of one process: an offset in a file that libfaketime reads at each look."""

    def __init__(self, path):
        self.path = path
        self.set(0)
        # Only the wall clock: the boot-time clock goes on as it is.
        self.env = {"LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(path), "FAKETIME_NO_CACHE": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1"}

    def set(self, seconds):
        fresh = self.path.with_suffix(".new")
        fresh.write_text(f"{seconds:+d}s\n")
        fresh.rename(self.path)


def send(server):
    event = {"event": "e", "distinct_id": "d", "uuid": str(uuid.uuid4()), "properties": {}}
    return server.capture([event], token="token-of-the-test").status_code


def ready(server):
    return requests.get(server.url + "/_readiness", timeout=10).status_code == 200


def start(make_server, tmp_path, **options):
    wall = Wall(tmp_path / "wall")
    server = make_server(**options)
    server.api("POST", "/api/projects/", {"name": "p", "capture_token": "token-of-the-test"})
    server.stop()
    server.start(env=wall.env)
    return wall, server


def instants(folder):
    return [row["_inserted_at"] for row in rows_in(folder)]


def test_small_steps_are_slewed_and_large_ones_stop_it_until_the_clock_is_right(make_server, tmp_path):
    wall, server = start(make_server, tmp_path)
    out = tmp_path / "out"
    server.create_export(file_destination(out), project=2)
    sent = 0
    for offset in (0, 120, -120, 60, 0):
        wall.set(offset)
        time.sleep(1)
        assert ready(server), f"an offset of {offset} s"
        assert send(server) == 200
        sent += 1

    for offset in (3600, -3600):
        wall.set(offset)
        wait_for(lambda: not ready(server), 10)
        assert send(server) == 503
        assert "clock" in requests.get(server.url + "/_readiness", timeout=10).text
        wall.set(0)
        wait_for(lambda: ready(server), 10)
        assert send(server) == 200
        sent += 1

    wait_for(lambda: len(instants(out)) == sent, 60, 0.5)
    assert len(set(instants(out))) == sent
    assert instants(out) == sorted(instants(out))


def test_a_clock_that_stands_far_behind_at_a_start_is_refused_until_a_person_says(make_server, tmp_path):
    wall, server = start(make_server, tmp_path)
    out = tmp_path / "out"
    server.create_export(file_destination(out), project=2)
    assert send(server) == 200
    server.stop()

    wall.set(-7200)
    server.start(env=wall.env)
    assert not ready(server)
    assert send(server) == 503
    status = server.api("GET", "/api/status/")["store"]
    assert not status["ready"] and "--accept-clock" in status["hint"]
    server.stop()

    server.start(env=wall.env, args=["--accept-clock"])
    assert ready(server)
    assert send(server) == 200  # its instant is behind the first one's all the same
    server.stop()

    wall.set(0)  # it had been right before: intervals go on at once
    server.start(env=wall.env, args=["--accept-clock"])
    wait_for(lambda: len(instants(out)) == 2, 60, 0.5)
    assert instants(out) == sorted(set(instants(out)))


def test_a_step_while_it_was_down_is_noticed_within_one_boot(make_server, tmp_path):
    wall, server = start(make_server, tmp_path)
    assert send(server) == 200
    server.kill()
    wall.set(7200)
    server.start(env=wall.env)
    assert not ready(server)
    assert send(server) == 503
    wall.set(0)
    wait_for(lambda: ready(server), 10)
    assert send(server) == 200


def test_faketime_is_what_it_seems(tmp_path):
    """The tests above would pass with a preload that does nothing, if nothing looked at it."""
    wall = Wall(tmp_path / "wall")
    wall.set(86400)
    shown = subprocess.run(["date", "+%s"], env=wall.env, capture_output=True, text=True, check=True).stdout
    assert 86000 < int(shown) - time.time() < 87000
