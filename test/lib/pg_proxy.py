"""A TCP proxy in front of PostgreSQL (sslmode=disable) that knows what a COMMIT looks like.

lose_commit_answers = n   forwards COMMIT, waits until the server has answered it, then resets the client
cut_at_commit = n         forwards COMMIT and resets the client at once, while the backend still commits
stall_upserts = n         holds back the statement that goes from the stage to the table: others overtake it
"""

import socket
import struct
import threading
import time

import psycopg


class PgProxy:
    def __init__(self, conninfo):
        info = psycopg.conninfo.conninfo_to_dict(conninfo)
        self.upstream = (info["host"], int(info["port"]))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lose_commit_answers = self.cut_at_commit = self.stall_upserts = 0
        self.lost = self.cut = self.stalled = 0
        self.stall_seconds = 7
        self.lock = threading.Lock()

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
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        server = socket.create_connection(self.upstream)
        losing = threading.Event()
        threading.Thread(target=self._answers, args=(server, client, losing), daemon=True).start()
        try:
            while True:
                chunk = client.recv(65536)
                if not chunk:
                    break
                # A simple query message, or the text of a prepared statement being parsed and run.
                is_commit = b"COMMIT" in chunk[-64:].upper() and chunk[:1] in (b"Q", b"P")
                with self.lock:
                    cutting = is_commit and self.cut_at_commit > self.cut
                    if cutting:
                        self.cut += 1
                    elif is_commit and self.lose_commit_answers > self.lost:
                        self.lost += 1
                        losing.set()
                    stalling = b"ON CONFLICT" in chunk and self.stall_upserts > self.stalled
                    self.stalled += stalling
                if stalling:
                    time.sleep(self.stall_seconds)
                if cutting:
                    server.sendall(chunk)
                    reset(client)
                    # The backend goes on: its end of the connection stays open.
                    threading.Event().wait(20)
                    return
                server.sendall(chunk)
        except OSError:
            pass
        finally:
            server.close()

    @staticmethod
    def _answers(server, client, losing):
        try:
            while True:
                chunk = server.recv(65536)
                if not chunk:
                    break
                if losing.is_set():
                    reset(client)
                    return
                client.sendall(chunk)
        except OSError:
            pass
        finally:
            client.close()


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    try:
        sock.shutdown(socket.SHUT_RD)  # another thread that reads it lets go, and only then it closes
    except OSError:
        pass
    sock.close()
