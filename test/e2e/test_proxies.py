"""The client's address behind real proxies: what a client says of itself is not believed."""

import http.client
import json
import shutil
import socket
import subprocess
import uuid

import pytest
from harness import file_destination, rows_in, wait_for

CLIENT = "127.0.0.5"  # the proxies speak from 127.0.0.1


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def nginx(folder, port, to):
    (folder / "nginx.conf").write_text(f"""
daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ }}
http {{
    access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
    fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{to}; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
""")
    return ["/usr/sbin/nginx", "-p", str(folder), "-e", f"{folder}/nginx.err", "-c", f"{folder}/nginx.conf"]


def haproxy(folder, port, to):
    (folder / "haproxy.cfg").write_text(f"""
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    option forwardfor
listen front
    bind 127.0.0.1:{port}
    server back 127.0.0.1:{to}
""")
    return ["/usr/sbin/haproxy", "-db", "-f", f"{folder}/haproxy.cfg"]


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize("chain", [[nginx], [haproxy], [haproxy, nginx], [nginx, haproxy]],
                         ids=lambda c: "-".join(p.__name__ for p in c))
@pytest.mark.skipif(not (shutil.which("/usr/sbin/nginx") and shutil.which("/usr/sbin/haproxy")),
                    reason="nginx-light and haproxy are not installed")
def test_a_client_cannot_choose_its_address(chain, make_server, tmp_path):
    server = make_server("--trusted-proxies", "127.0.0.1")
    token = server.capture_token()
    server.create_export(file_destination(tmp_path / "out"))
    to = server.port
    running = []
    try:
        for i, proxy in enumerate(reversed(chain)):
            folder = tmp_path / f"proxy{i}"
            folder.mkdir()
            port = free_port()
            running.append(subprocess.Popen(proxy(folder, port, to), stdin=subprocess.DEVNULL,
                                            stderr=open(folder / "said", "wb")))  # noqa: SIM115
            wait_for(lambda at=port: listens(at))
            to = port
        ids = {}
        for forged in (None, "6.6.6.6", "6.6.6.6, 7.7.7.7", "127.0.0.1"):
            event = {"event": "e", "distinct_id": "d", "uuid": str(uuid.uuid4()), "properties": {}}
            client = http.client.HTTPConnection("127.0.0.1", to, timeout=30, source_address=(CLIENT, 0))
            client.request("POST", "/batch/", json.dumps({"api_key": token, "batch": [event]}),
                           {} if forged is None else {"X-Forwarded-For": forged})
            assert client.getresponse().status == 200
            client.close()
            ids[event["uuid"]] = forged
        rows = wait_for(lambda: len(r := rows_in(tmp_path / "out")) == len(ids) and r, 40)
        for row in rows:
            assert row["properties"]["$ip"] == CLIENT, ids[row["uuid"]]
    finally:
        for process in running:
            process.terminate()
            process.wait(20)
