"""An HTTP proxy that does to each request what a script says.

    with FaultProxy(("127.0.0.1", 8000)) as proxy:
        proxy.script = ["503", "reset-before", "reset-after", "cut", "pass"]
        ... send to proxy.url ...
        proxy.log   # [(action, method, path, body)], in order of arrival

Actions, taken in turn by requests whose path matches `proxy.only` (others pass); after the last one
everything passes:
    pass           forwarded, answered
    500 503 429    answered by the proxy, nothing forwarded; "503:2" adds Retry-After: 2
    reset-before   the connection is reset, nothing forwarded
    reset-after    forwarded and answered by the server, then the connection is reset without an answer
    cut            forwarded; the answer's headers and half its body, then the connection is closed
    hang:S         forwarded; the answer is held back S seconds
"""

import re
import socket
import struct
import threading
import time


class FaultProxy:
    def __init__(self, upstream, only=r"/(batch|e|i/v0/e|capture|i/v1/analytics/events)/?(\?|$)"):
        self.upstream = upstream
        self.only = re.compile(only)
        self.script = []
        self.log = []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.stopping = False

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.listener.close()

    def _accept(self):
        while not self.stopping:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            reader = client.makefile("rb")
            while True:
                head, body = read_message(reader)
                if head is None:
                    return
                method, path = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")[:2]
                with self.lock:
                    action = "pass"
                    if self.only.match(path) and method == "POST" and self.script:
                        action = self.script.pop(0)
                    self.log.append((action, method, path, body))
                if not self._act(client, action, head, body):
                    return

    def _act(self, client, action, head, body):
        """Answers one request; False when the connection is gone."""
        kind, _, argument = action.partition(":")
        if kind.isdigit():
            retry = f"Retry-After: {argument}\r\n" if argument else ""
            client.sendall(f"HTTP/1.1 {kind} Fault\r\nContent-Type: text/plain\r\n{retry}"
                           "Content-Length: 5\r\n\r\nfault".encode())
            return True
        if kind == "reset-before":
            reset(client)
            return False
        with socket.create_connection(self.upstream, timeout=30) as server:
            server.sendall(head + body)
            answer, answer_body = read_message(server.makefile("rb"))
        if answer is None:
            return False
        if kind == "reset-after":
            reset(client)
            return False
        if kind == "cut":
            client.sendall(answer + answer_body[: len(answer_body) // 2])
            return False
        if kind == "hang":
            time.sleep(float(argument))
        try:
            client.sendall(answer + answer_body)
        except OSError:
            return False
        return True


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def read_message(reader):
    """Head (with its empty line) and body of one HTTP/1.1 message; (None, None) at the end."""
    head = b""
    try:
        while not head.endswith(b"\r\n\r\n"):
            line = reader.readline()
            if not line:
                return None, None
            head += line
        found = re.search(rb"\r\ncontent-length:\s*(\d+)", head, re.I)
        return head, reader.read(int(found.group(1))) if found else b""
    except OSError:
        return None, None
