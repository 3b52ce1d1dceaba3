"""The command line against the real server: a round trip, output, exit statuses."""

import json
import re
import socket
import subprocess
import threading
import time
import uuid

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from harness import binary, file_destination, rows_in, wait_for

YAML = """\
# an export as people write it
name: to files
interval: every 5 seconds
destination:
  type: File
  config:
    path: {path}
    compression: gzip
    exclude_events: [noise]
"""


def run(server, *args, text=None):
    return subprocess.run([binary(), *map(str, args)], input=text, capture_output=True, text=True, timeout=60,
                          env={"TAILRACE_SERVER": server.url, "TAILRACE_TOKEN": server.owner_token, "PATH": "/usr/bin"})


def test_round_trip(server, tmp_path):
    project = server.cli("project", "create", "Shop", "--capture-token", "phc_shop", "--json")
    assert project["capture_token"] == "phc_shop"
    mine = ("--project", project["id"])
    assert "phc_shop" in server.cli("project", "list")

    body = tmp_path / "export.yaml"
    body.write_text(YAML.format(path=tmp_path / "out"))
    export = server.cli("export", "create", *mine, "-f", body, "--json")
    assert export["name"] == "to files" and export["interval"] == "every 5 seconds"
    assert export["destination"]["config"]["exclude_events"] == ["noise"]
    assert [e["id"] for e in server.cli("export", "list", *mine, "--json")["results"]] == [export["id"]]
    assert export["id"] in server.cli("export", "list", *mine)
    assert server.cli("export", "list") == server.cli("export", "list", "--project", 1)

    ids = [str(uuid.uuid4()) for _ in range(5)]
    events = [{"event": "e", "distinct_id": "d", "uuid": i} for i in ids]
    assert server.capture(events + [{"event": "noise", "distinct_id": "d"}], token="phc_shop").status_code == 200
    rows = wait_for(lambda: rows_in(tmp_path / "out"), 40)
    assert sorted(r["uuid"] for r in rows) == sorted(ids)

    on = (*mine, "--export", export["id"])
    done = wait_for(lambda: [r for r in server.cli("run", "list", *on, "--status", "Completed", "--json")["results"]
                             if r["records_completed"]], 20)
    shown = server.cli("run", "show", *on, done[0]["id"], "--json")
    assert shown["account"]["stored"] == 6 and shown["account"]["excluded"] == 1 and shown["account"]["balanced"]
    table = server.cli("run", "list", *on)
    assert done[0]["id"] in table and "Completed" in table
    assert server.cli("run", "logs", *on, done[0]["id"], "--json") is not None
    assert server.cli("run", "rejects", *on, done[0]["id"], "--json")["results"] == []

    report = server.cli("verify", *on, "--json")
    assert report["ok"] and report["intervals"]["ok"] >= 1
    assert report["account"]["delivered"] + report["account"]["already_there"] == 5
    assert "ok" in server.cli("verify", *on)

    assert server.cli("export", "pause", *mine, export["id"]).startswith("paused")
    assert server.cli("export", "show", *mine, export["id"], "--json")["paused"] is True
    server.cli("export", "unpause", *mine, export["id"], "--backfill")
    server.cli("export", "delete", *mine, export["id"])
    assert server.cli("export", "list", *mine, "--json")["results"] == []


def test_json_bodies_and_standard_input(server, tmp_path):
    body = json.dumps({"name": "from stdin", "destination": file_destination(tmp_path / "out")})
    done = run(server, "export", "create", "-f", "-", "--json", text=body)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    done = run(server, "export", "update", made["id"], "-f", "-", "--json", text="name: renamed\ninterval: day\n")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "renamed" and json.loads(done.stdout)["interval"] == "day"


def test_refusals_exit_1_with_reason_and_hint(server, tmp_path):
    done = run(server, "export", "create", "-f", "-", text="{}")
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and "destination" in done.stderr
    done = run(server, "export", "create", "-f", "-", text="a: [")
    assert done.returncode == 1 and "line" in done.stderr
    done = run(server, "export", "create", "-f", tmp_path / "none.yaml")
    assert done.returncode == 1 and "none.yaml" in done.stderr
    done = run(server, "export", "show", uuid.uuid4())
    assert done.returncode == 1 and "not" in done.stderr or "no such" in done.stderr
    done = run(server, "export", "show", "../../../etc")
    assert done.returncode == 1
    done = run(server, "project", "list", "--token", "wrong")
    assert done.returncode == 1 and "token" in done.stderr and "hint:" in done.stderr
    done = run(server, "project", "list", "--server", "http://127.0.0.1:1")
    assert done.returncode == 1 and "hint:" in done.stderr


BIGQUERY = """\
name: to the warehouse
interval: hour
paused: true
test: false
destination:
  type: BigQuery
  config:
    dataset_id: exports
    key_file: "@{path}"
"""


def key_text():
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()
    return json.dumps({"type": "service_account", "project_id": "proj-of-the-key", "private_key_id": "k1", "private_key": made,
                       "client_email": "loader@proj-of-the-key.iam.gserviceaccount.com",
                       "token_uri": "https://oauth2.googleapis.com/token"}, indent=2) + "\n"


def test_a_key_file_is_given_by_its_name(server, tmp_path):
    key = tmp_path / "key.json"
    key.write_text(key_text())
    done = run(server, "export", "create", "-f", "-", "--json", text=BIGQUERY.format(path=key))
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert "PRIVATE KEY" not in done.stdout
    # Only a server that read the text knows the key file's project.
    assert "proj-of-the-key" in made["target"]
    key.write_text(key_text().replace("proj-of-the-key", "proj-two"))
    body = json.dumps({"destination": {"config": {"key_file": f"@{key}"}}})
    done = run(server, "export", "update", made["id"], "-f", "-", "--json", text=body)
    assert done.returncode == 0, done.stderr
    assert "proj-two" in json.loads(done.stdout)["target"]


@pytest.mark.parametrize("content, why", [
    (None, "no such file"), ("folder", "key.json"), (b"", "empty"), (b"\xff\xfe{}", "UTF-8"), (b"a\0b", "UTF-8"),
    (b"{" + b" " * 16384, "over 16384 bytes")])
def test_a_key_file_that_cannot_be_sent(server, tmp_path, content, why):
    key = tmp_path / "key.json"
    if content == "folder":
        key.mkdir()
    elif content is not None:
        key.write_bytes(content)
    done = run(server, "export", "create", "-f", "-", text=BIGQUERY.format(path=key))
    assert done.returncode == 1 and done.stdout == "", done
    assert done.stderr.startswith("error: key_file: ") and why in done.stderr, done.stderr
    done = run(server, "export", "create", "-f", "-", text=BIGQUERY.format(path=""))
    assert done.returncode == 1 and "names no file" in done.stderr and "hint: " in done.stderr
    assert server.cli("export", "list", "--json")["results"] == []


@pytest.mark.parametrize("args", [["export"], ["export", "nope"], ["export", "create"], ["run", "list"],
                                  ["project", "create"], ["project", "list", "--nope"], ["verify", "--start"]])
def test_usage_exits_2(server, args):
    done = run(server, *args)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.startswith("error: ")


def test_the_token_file_is_found(server):
    done = subprocess.run([binary(), "project", "list", "--json"], capture_output=True, text=True, timeout=30,
                          env={"TAILRACE_SERVER": server.url, "TAILRACE_DATA": str(server.data)})
    assert done.returncode == 0, done.stderr


def test_the_owners_token_goes_to_no_proxy_and_no_other_host(server):
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        def listen():
            while True:
                try:
                    peer, _ = proxy.accept()
                except OSError:
                    return
                heard.append(peer.recv(65536))
                peer.close()
        threading.Thread(target=listen, daemon=True).start()
        at = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        env = {"TAILRACE_DATA": str(server.data), "PATH": "/usr/bin", "http_proxy": at, "all_proxy": at}

        def status(address):
            return subprocess.run([binary(), "status", "--server", address], capture_output=True, text=True, timeout=60,
                                  env=env)
        for host in ("127.0.0.1", "localhost", "127.1"):
            done = status(f"http://{host}:{server.port}")
            assert done.returncode == 0, (host, done.stderr)
        assert not heard
        # What only looks like this machine: a user name, a name that begins so.
        for address in ("http://localhost:x@tailrace.invalid", "localhost:80@tailrace.invalid", "http://127.0.0.1.invalid",
                        "http://localhost.invalid:8000"):
            assert status(address).returncode == 1
    assert not any(server.owner_token.encode() in said for said in heard)


def test_backfill_with_wait(server, tmp_path):
    assert server.capture([{"event": "e", "distinct_id": str(i)} for i in range(20)]).status_code == 200
    body = tmp_path / "export.yaml"
    body.write_text(YAML.format(path=tmp_path / "out").replace("every 5 seconds", "hour"))
    export = server.cli("export", "create", "-f", body, "--json")
    end = server.api("GET", "/api/status/")["now"]
    start = f"{end[:10]}T00:00:00Z"
    done = run(server, "backfill", "create", "--export", export["id"], "--start", start, "--end", end,
               "--parallel", 2, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    backfill = json.loads(done.stdout)
    assert backfill["status"] == "Completed" and backfill["progress"]["rows_done"] == 20
    assert re.search(r"100%  runs \d+ of \d+  rows 20 of 20", done.stderr), done.stderr
    assert len(rows_in(tmp_path / "out")) == 20
    assert backfill["id"] in server.cli("backfill", "list", "--export", export["id"])
    assert server.cli("backfill", "show", backfill["id"], "--export", export["id"], "--json")["id"] == backfill["id"]
    # The same range once more: everything is there, nothing is sent.
    done = run(server, "backfill", "create", "--export", export["id"], "--start", start, "--end", end, "--wait")
    assert done.returncode == 0, done.stderr
    assert len(rows_in(tmp_path / "out")) == 20
    assert server.cli("verify", "--export", export["id"], "--start", start, "--end", end, "--json")["ok"]


@pytest.mark.parametrize("how", ["paused", "bounded"])
def test_once_and_never_again(server, tmp_path, how):
    """docs/backfills.md: one delivery of what there is, by an export that is paused or has an end."""
    ids = [str(uuid.uuid4()) for _ in range(3)]
    assert server.capture([{"event": "e", "distinct_id": "d", "uuid": i} for i in ids]).status_code == 200
    time.sleep(1)
    bound = {"paused": True} if how == "paused" else {"end_at": server.api("GET", "/api/status/")["now"]}
    body = json.dumps({"name": "once", "interval": "every 5 seconds", "destination": file_destination(tmp_path / "out")} | bound)
    done = run(server, "export", "create", "-f", "-", "--json", text=body)
    assert done.returncode == 0, done.stderr
    export = json.loads(done.stdout)["id"]
    done = run(server, "backfill", "create", "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert sorted(r["uuid"] for r in rows_in(tmp_path / "out")) == sorted(ids)
    assert server.capture([{"event": "later", "distinct_id": "d"}]).status_code == 200
    time.sleep(7)  # longer than an interval: a schedule that ran would have told it
    assert server.cli("export", "show", export, "--json")["paused"] is (how == "paused")
    assert sorted(r["uuid"] for r in rows_in(tmp_path / "out")) == sorted(ids)
    server.cli("export", "delete", export)
    assert len(rows_in(tmp_path / "out")) == 3


def test_a_backfill_that_fails_exits_1(server):
    export = server.create_export({"type": "Postgres", "config": {
        "host": "no-such-host.invalid", "user": "u", "password": "p", "database": "d", "schema": "s",
        "table_name": "t"}}, interval="hour")
    assert server.capture([{"event": "e", "distinct_id": "d"}]).status_code == 200
    end = wait_for(lambda: server.api("GET", "/api/status/")["now"], 10)
    done = subprocess.Popen([binary(), "backfill", "create", "--export", export["id"], "--start", f"{end[:10]}T00:00:00Z",
                             "--end", end, "--wait"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env={"TAILRACE_SERVER": server.url, "TAILRACE_TOKEN": server.owner_token})
    made = wait_for(lambda: server.cli("backfill", "list", "--export", export["id"], "--json")["results"], 20)[0]
    server.cli("backfill", "cancel", made["id"], "--export", export["id"])
    out, err = done.communicate(timeout=30)
    assert done.returncode == 1 and "did not complete" in err
    assert "Cancelled" in out


def test_status_and_destinations(server):
    assert "ready" in server.cli("status")
    assert server.cli("status", "--json")["store"]["ready"] is True
    text = server.cli("destinations")
    assert "Postgres" in text and "password" in text


def test_store_commands_work_offline_only(server):
    assert server.capture([{"event": "e", "distinct_id": str(i)} for i in range(7)]).status_code == 200
    busy = run(server, "store", "stat", "--data", server.data)
    assert busy.returncode == 1 and "in use" in busy.stderr
    (server.data / "lock").unlink()
    for command in ("stat", "check"):
        busy = run(server, "store", command, "--data", server.data)
        assert busy.returncode == 1 and "in use" in busy.stderr, "the folder itself is locked"
    assert server.stop() == 0
    env_free = subprocess.run([binary(), "store", "stat", "--data", str(server.data), "--json"], capture_output=True,
                              text=True, timeout=60)
    assert env_free.returncode == 0, env_free.stderr
    json.loads(env_free.stdout)
    check = subprocess.run([binary(), "store", "check", "--data", str(server.data), "--json"], capture_output=True,
                           text=True, timeout=60)
    assert check.returncode == 0, check.stderr
    assert json.loads(check.stdout)["problems"] == []
    nowhere = subprocess.run([binary(), "store", "stat", "--data", str(server.data / "none")], capture_output=True,
                             text=True, timeout=60)
    assert nowhere.returncode == 1 and "hint:" in nowhere.stderr


def test_the_only_export_of_a_project_need_not_be_named(server, tmp_path):
    assert "0 exports" in run(server, "run", "list").stderr
    export = server.create_export(file_destination(tmp_path / "one"))
    assert server.cli("run", "list", "--json") == server.cli("run", "list", "--export", export["id"], "--json")
    server.create_export(file_destination(tmp_path / "two"))
    done = run(server, "run", "list")
    assert done.returncode == 2 and "--export" in done.stderr and "export list" in done.stderr
