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
