"""The life of a server: first start, ready line, stop, a second one on the same folder, options."""

import os
import pathlib
import re
import stat
import subprocess
import time
import uuid

import pytest
import requests
from harness import Server, binary, file_destination, rows_in, wait_for


def tailrace(*args, env=None, cwd=None):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("TAILRACE_") or k.endswith("BIN")}
    return subprocess.run([binary(), *map(str, args)], capture_output=True, text=True, timeout=60,
                          stdin=subprocess.DEVNULL, env={**clean, **(env or {})}, cwd=cwd)


def test_one_event_becomes_a_row_in_a_file(server, tmp_path):
    export = server.create_export(file_destination(tmp_path / "out"))
    event = {"event": "signed up", "distinct_id": "ada", "uuid": str(uuid.uuid4()),
             "timestamp": "2026-11-20T12:00:00.123Z", "properties": {"plan": "pro", "n": 54.10, "big": 2 ** 70}}
    assert server.capture([event]).status_code == 200
    rows = wait_for(lambda: rows_in(tmp_path / "out"), 40)
    assert [(r["uuid"], r["event"], r["distinct_id"]) for r in rows] == [(event["uuid"], "signed up", "ada")]
    assert rows[0]["properties"]["plan"] == "pro"
    assert rows[0]["properties"]["big"] == 2 ** 70
    run = wait_for(lambda: [r for r in server.runs(export, status="Completed") if r["records_completed"]], 20)[0]
    assert run["records_completed"] == 1 and run["records_failed"] == 0
    assert run["account"]["balanced"] and run["account"]["stored"] == 1


def test_what_only_the_whole_program_wires(server):
    """Parts that are optional for their users, and that unit tests connect by themselves."""
    answer = server.capture([{"event": "e", "distinct_id": "d"}], token="phc_of_nobody")
    assert answer.status_code == 401
    seen = server.api("GET", "/api/unknown_tokens/")
    assert "phc_of_nobody" in str(seen), seen
    # The API asks the store and the intake, a new project's token is known at once, metrics of all floors.
    assert server.api("GET", "/api/status/")
    project = server.api("POST", "/api/projects/", {"name": "second"})
    assert server.capture([{"event": "e", "distinct_id": "d"}], token=project["api_token"]).status_code == 200
    persons = server.api("GET", f"/api/projects/{project['id']}/persons/", params={"distinct_id": "d"})
    assert len(persons["results"]) == 1, persons
    metrics = requests.get(server.url + "/metrics", timeout=30).text
    for name in ("tailrace_http_connections_open", "tailrace_capture_unknown_token_total", "tailrace_events_total"):
        assert name in metrics


def test_the_first_start_makes_a_token_and_a_project(server):
    token = server.data / "owner-token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.data / "secret.key").stat().st_mode) == 0o600
    project = server.api("GET", "/api/projects/1/")
    assert re.fullmatch(r"phc_[0-9a-f]{40}", project["api_token"])
    assert server.owner_token not in server.log()
    assert project["api_token"] in server.log()

    before = server.owner_token, project["api_token"]
    assert server.stop() == 0
    server.start()
    assert (server.owner_token, server.capture_token()) == before
    assert len(server.api("GET", "/api/projects/")["results"]) == 1


def test_only_the_hash_of_the_token_is_kept(server):
    token = server.owner_token.encode()
    assert server.stop() == 0
    for path in server.data.rglob("*"):
        if path.is_file() and path.name != "owner-token":
            assert token not in path.read_bytes(), path


def test_a_lost_token_file_does_not_make_another_token(server):
    token = server.owner_token
    assert server.stop() == 0
    (server.data / "owner-token").unlink()
    server.start()
    assert not (server.data / "owner-token").exists()
    server.api("GET", "/api/projects/", token=token)


@pytest.mark.parametrize("damage", ["missing", "empty", "without tables"])
def test_a_store_without_its_metadata_is_no_first_start(server, damage):
    assert server.capture([{"event": "e", "distinct_id": "d"}]).status_code == 200
    token = server.owner_token
    assert server.stop() == 0
    meta = server.data / "meta.db"
    kept = meta.read_bytes()
    for path in server.data.glob("meta.db*"):
        path.unlink()
    if damage == "empty":
        meta.write_bytes(b"")
    elif damage == "without tables":
        import sqlite3
        other = sqlite3.connect(meta)
        other.execute("PRAGMA user_version = 0")
        other.execute("VACUUM")
        other.close()
    done = tailrace("serve", "--data", server.data, "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and done.stdout == ""
    assert "meta.db" in done.stderr and "hint: put meta.db back" in done.stderr
    assert server.owner_token == token
    for path in server.data.glob("meta.db*"):
        path.unlink()
    meta.write_bytes(kept)  # the hint's way out
    server.start()
    assert len(server.api("GET", "/api/projects/")["results"]) == 1


def test_a_lost_key_is_not_replaced_in_silence(server):
    config = {"host": "127.0.0.1", "port": 1, "user": "u", "password": "one", "database": "d", "sslmode": "disable"}
    made = server.create_export({"type": "Postgres", "config": config}, paused=True)
    assert server.stop() == 0
    key = server.data / "secret.key"
    key.unlink()
    done = tailrace("serve", "--data", server.data, "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and "hint: put secret.key back" in done.stderr and not key.exists()
    # The way out when it is lost for good: a new key, and the secrets given again.
    server.start(env={"TAILRACE_KEY": "0123456789abcdef" * 4})
    path = f"/api/projects/1/batch_exports/{made['id']}/"
    server.api("PATCH", path, {"name": "x"}, expect=400)
    server.api("PATCH", path, {"destination": {"config": {"password": "two"}}})
    server.api("PATCH", path, {"name": "x"})


def test_a_second_server_on_the_folder_is_refused(server):
    done = tailrace("serve", "--data", server.data, "--listen", "127.0.0.1:0")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "in use" in done.stderr and str(server.process.pid) in done.stderr
    assert "hint:" in done.stderr
    assert requests.get(server.url + "/_liveness", timeout=10).status_code == 200


@pytest.mark.parametrize("how", ["removed", "replaced", "emptied"])
def test_a_second_server_is_refused_whatever_became_of_the_lock_file(how, server):
    lock = server.data / "lock"
    if how == "emptied":
        lock.write_text("")
    else:
        lock.unlink()
    if how == "replaced":
        lock.write_text("1\n")
    done = tailrace("serve", "--data", server.data, "--listen", "127.0.0.1:0")
    assert done.returncode == 1 and "in use" in done.stderr, done.stderr
    assert server.capture([{"event": "e", "distinct_id": "d"}]).status_code == 200
    assert server.stop() == 0
    server.start()


def test_an_address_in_use_is_refused(server, tmp_path):
    done = tailrace("serve", "--data", tmp_path / "other", "--listen", f"127.0.0.1:{server.port}")
    assert done.returncode == 1
    assert "in use" in done.stderr.lower()


def test_sigterm_answers_what_is_in_flight(server):
    """A request that has begun is answered whole after SIGTERM; the event is there after a restart."""
    import socket
    token = server.capture_token()
    body = ('{"api_key":"%s","event":"late","distinct_id":"d","timestamp":"2026-11-20T12:00:00Z"}' % token).encode()
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        s.sendall(b"POST /e/ HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
                  % len(body) + body[:10])
        time.sleep(0.3)
        server.process.terminate()
        time.sleep(0.3)
        s.sendall(body[10:])
        s.settimeout(20)
        answer = b""
        while True:
            got = s.recv(4096)
            if not got:
                break
            answer += got
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert server.died(30) == 0
    server.start()
    assert server.api("GET", "/api/status/")["store"]["events"] == 1


def test_sigterm_while_idle_is_quick(server):
    began = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - began < 5


def test_stopping_and_starting_keeps_what_was_captured(server, tmp_path):
    ids = [str(uuid.uuid4()) for _ in range(50)]
    for i in ids:
        assert server.capture([{"event": "e", "distinct_id": "d", "uuid": i}]).status_code == 200
    server.kill()
    server.start()
    server.create_export(file_destination(tmp_path / "out"))
    status = server.api("GET", "/api/status/")
    assert status["store"]["events"] == 50 and status["store"]["ready"]


def test_usage_errors_exit_2(tmp_path):
    for args in (["serve", "--nope"], ["serve", "--workers"], ["serve", "--workers", "many"],
                 ["serve", "--workers", "0"], ["serve", "--body-budget", "12 parsecs"], ["serve", "stray"],
                 ["serve", "--log-level", "loud"], [], ["frobnicate"]):
        done = tailrace(*args, cwd=tmp_path)
        assert done.returncode == 2, args
        assert done.stderr.startswith("error: "), args
    assert list(tmp_path.iterdir()) == []


def test_help_and_version():
    assert re.fullmatch(r"tailrace \d+\.\d+\.\d+\n", tailrace("--version").stdout)
    for args in (["--help"], ["serve", "--help"], ["export", "--help"], ["export", "create", "--help"]):
        done = tailrace(*args)
        assert done.returncode == 0 and done.stderr == ""
        assert "Usage" in done.stdout or "commands" in done.stdout.lower()
    top = tailrace("--help").stdout
    for word in ("serve", "project create", "backfill create", "verify", "store check"):
        assert word in top


def test_every_option_of_serve_is_documented():
    docs = (pathlib.Path(__file__).resolve().parents[2] / "docs/configuration.md").read_text()
    for line in tailrace("serve", "--help").stdout.splitlines():
        found = re.match(r"\s+(--[a-z-]+)", line)
        if found and found.group(1) != "--help":
            assert f"`{found.group(1)}`" in docs, found.group(1)


def test_the_environment_sets_options(make_server):
    server = make_server(env={"TAILRACE_MAX_API_BODY_BYTES": "1024"})
    answer = requests.post(server.url + "/api/projects/", json={"name": "x" * 2000}, timeout=10,
                           headers={"Authorization": f"Bearer {server.owner_token}"})
    assert answer.status_code == 413
    assert answer.json()["code"] == "too_large"


def test_stray_addresses_say_where_things_are(server):
    assert requests.get(server.url + "/", timeout=10).text.startswith("tailrace ")
    answer = requests.get(server.url + "/nothing/here", timeout=10)
    assert answer.status_code == 404 and "/batch/" in answer.text
    answer = requests.post(server.url + "/nothing/here", data=b"x" * 100000, timeout=10)
    assert answer.status_code == 404


def test_kill_points_are_listed():
    names = tailrace("kill-points").stdout.split()
    assert "journal.written" in names or len(names) > 3
    assert len(names) == len(set(names))


@pytest.mark.threads
def test_many_api_calls_at_once(server, tmp_path):
    """Readers and writers of the API together with capture."""
    import concurrent.futures
    export = server.create_export(file_destination(tmp_path / "out"))
    path = f"/api/projects/1/batch_exports/{export['id']}/"

    def work(i):
        if i % 4 == 0:
            assert server.capture([{"event": "e", "distinct_id": str(i)}]).status_code == 200
        elif i % 4 == 1:
            server.api("PATCH", path, {"name": f"name {i}"})
        elif i % 4 == 2:
            server.api("GET", path)
            server.runs(export)
        else:
            server.api("GET", "/api/status/")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(80)))
    assert server.api("GET", "/api/status/")["store"]["events"] == 20


def test_a_busy_verify_does_not_stop_the_rest(server, tmp_path):
    export = server.create_export(file_destination(tmp_path / "out"))
    path = f"/api/projects/1/batch_exports/{export['id']}/verify/"
    for _ in range(3):
        server.api("GET", path)
    assert server.api("GET", "/api/status/")["version"]


def test_sigterm_does_not_wait_for_a_place_that_is_silent(server):
    """A test step that hangs on its connection is cancelled; whoever asked gets an answer."""
    import socket
    import threading
    answers = []
    with socket.create_server(("127.0.0.1", 0)) as mute:
        body = {"step": 0, "destination": {"type": "Postgres", "config": {
            "host": "127.0.0.1", "port": mute.getsockname()[1], "user": "u", "password": "p", "database": "d",
            "sslmode": "disable"}}}
        headers = {"Authorization": f"Bearer {server.owner_token}"}
        asking = threading.Thread(target=lambda: answers.append(requests.post(
            server.url + "/api/projects/1/batch_exports/run_test_step_new/", json=body, headers=headers, timeout=60)))
        asking.start()
        held = mute.accept()[0]
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 8
        asking.join()
        held.close()
    assert answers[0].status_code == 200 and answers[0].json()["status"] == "Failed"


def test_sigterm_while_a_run_hangs(server):
    """An attempt that waits for its destination stops, and goes on after the next start."""
    import socket
    with socket.create_server(("127.0.0.1", 0)) as mute:
        export = server.create_export({"type": "Postgres", "config": {
            "host": "127.0.0.1", "port": mute.getsockname()[1], "user": "u", "password": "p", "database": "d",
            "sslmode": "disable"}})
        assert server.capture([{"event": "e", "distinct_id": "d"}]).status_code == 200
        mute.settimeout(40)
        held = mute.accept()[0]
        began = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - began < 12
        held.close()
        server.start()
        mute.accept()[0].close()
        run = wait_for(lambda: [r for r in server.runs(export) if r["attempts"] >= 2], 30, 0.3)[0]
        assert run["status"] in ("Running", "FailedRetryable")


def told(server):
    """What the process was given of glibc's tunables: /proc has the environment that it was started with."""
    pairs = pathlib.Path(f"/proc/{server.process.pid}/environ").read_bytes().split(b"\0")
    return [p for p in pairs if p.startswith(b"GLIBC_TUNABLES=")]


def test_huge_pages_are_asked_for_by_the_same_process_unless_somebody_says_otherwise(make_server):
    server = make_server()
    assert told(server) == [b"GLIBC_TUNABLES=glibc.malloc.hugetlb=1"]
    assert pathlib.Path(f"/proc/{server.process.pid}/comm").read_text() == "tailrace\n"
    server.stop()
    server.start(env={"GLIBC_TUNABLES": ""})
    assert told(server) == [b"GLIBC_TUNABLES="]
    assert server.stop() == 0
