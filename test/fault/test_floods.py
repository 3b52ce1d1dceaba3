"""Many clients that mean no good, at once: others are served all the same."""

import socket
import struct

import pytest
import requests
from harness import wait_for

NOTHING = [
    ("/e/", b'{"event":"$performance_event"}'),
    ("/batch/", b'{"api_key":"TOKEN","batch":[{"event":"$performance_event","distinct_id":"d"}]}'),
    ("/i/v1/analytics/events",
     b'{"created_at":"2026-01-01T00:00:00Z","batch":[{"event":"$performance_event",'
     b'"uuid":"01890a5d-ac96-774b-bcce-b302099a8057","distinct_id":"d","timestamp":"2026-01-01T00:00:00Z",'
     b'"options":{},"properties":{}}]}'),
]


def dial(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


@pytest.mark.parametrize("path,body", NOTHING, ids=[n[0] for n in NOTHING])
def test_a_flood_of_requests_that_leave_nothing_to_store(path, body, make_server):
    server = make_server("--max-connections", "100")
    token = server.capture_token()
    body = body.replace(b"TOKEN", token.encode())
    request = (f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
               f"Content-Length: {len(body)}\r\n\r\n").encode() + body
    for i in range(1500):
        client = dial(server)
        client.sendall(request)
        if i % 2:  # half of them with a reset
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    assert requests.get(server.url + "/_liveness", timeout=10).status_code == 200
    wait_for(lambda: server.metric("tailrace_http_requests_left") == 0, 10)
    wait_for(lambda: server.metric("tailrace_http_connections_open") < 5, 10)
    with dial(server) as client:
        client.sendall(request)
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK")
    assert server.capture([{"event": "e", "distinct_id": "d"}]).status_code == 200


@pytest.mark.parametrize("first", [0, 1000, 300_000])
def test_slow_bodies_do_not_take_the_turn_of_others(first, make_server):
    """64 clients without a token that announce 20 MB and then send 50 bytes a second: bodies of every size are
    taken from others, one after the other."""
    server = make_server("--body-budget", "8MiB")
    token = server.capture_token()
    slow = []
    for _ in range(64):
        client = dial(server)
        client.sendall(b"POST /batch/ HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n")
        client.setblocking(False)
        try:
            client.send(b" " * first)
        except OSError:
            pass
        slow.append(client)
    for size in (100, 60_000, 100_000, 1_000_000, 3_000_000, 100_000):
        for client in slow:
            try:
                client.send(b" " * 50)
            except OSError:
                pass
        events = [{"event": "e", "distinct_id": "d", "properties": {"p": "x" * min(size, 500_000)}}
                  for _ in range(max(1, size // 500_000))]
        if first < 100_000:
            answer = server.capture(events, token=token)
            assert answer.status_code == 200, (size, answer.text)
        else:  # they have paid for some memory: for a moment others may have to try again
            wait_for(lambda batch=events: server.capture(batch, token=token).status_code == 200, 20)
    for client in slow:
        client.close()


def test_memory_is_bounded_whatever_small_things_are_sent(make_server):
    """Heads and bodies that are small by themselves, of 1,000 clients who never finish."""
    server = make_server("--body-budget", "1MiB")
    server.capture([{"event": "e", "distinct_id": "d"}])
    clients = []
    for i in range(1000):
        client = dial(server)
        client.setblocking(False)
        try:
            client.send(b"POST /batch/ HTTP/1.1\r\nHost: x\r\nContent-Length: 65000\r\n\r\n" + b" " * 64000 if i % 2
                        else b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 60000)
        except OSError:
            pass
        clients.append(client)
    wait_for(lambda: server.metric("tailrace_http_requests_left") == 0, 5)
    # What is small may fill a quarter more, and one body goes over so that it can end.
    assert server.metric("tailrace_http_held_bytes") <= (1 << 20) * 5 / 4 + 65536
    for client in clients:
        client.close()
    assert server.capture([{"event": "e", "distinct_id": "d"}]).status_code == 200


def test_idle_connections_leave_files_for_the_store(make_server):
    server = make_server("--segment-bytes", "65536", start=False)
    server.wrap = ["prlimit", "--nofile=200:200"]
    server.start()
    assert "100 connections at most" in server.log() and "ulimit" in server.log()
    token = server.capture_token()
    idle = [dial(server) for _ in range(90)]
    for _ in range(10):  # several journal files
        events = [{"event": "e", "distinct_id": "d", "properties": {"p": "x" * 20000}} for _ in range(4)]
        assert server.capture(events, token=token).status_code == 200
    waiting = [dial(server) for _ in range(150)]  # the kernel takes these; the server does not, yet
    for client in idle:
        client.close()
    for client in waiting:
        client.close()
    assert server.capture([{"event": "e", "distinct_id": "d"}], token=token).status_code == 200
    assert requests.get(server.url + "/_readiness", timeout=10).status_code == 200
    assert "Too many open files" not in server.log()
