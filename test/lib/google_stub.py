"""What every stand-in for Google's services has in common, as strict as Google: tokens for signed assertions, IAM
for impersonation, resumable uploads, and faults by script. What BigQuery itself does is the subclass's part.

Shapes: "Using OAuth 2.0 for Server to Server Applications", IAM Service Account Credentials v1, IAM v1, "Resumable
uploads" and the BigQuery v2 REST reference. A test drives these stand-ins with Google's own client.

Faults are a list of dicts, looked through in order for each request:
    {"match": "POST .*/jobs", "skip": 0, "times": 1, "do": ..., ...}
match is searched in "METHOD path?query". do:
    "error"        answers status, reason, message without doing anything
    "drop"         closes the connection without doing anything
    "lose"         does it, and closes the connection instead of answering
    "lose_error"   does it, and answers status, reason
    "cut"          of a PUT to an upload: takes the first `bytes` bytes, then answers status (308 or an error), or
                   closes the connection (status 0)
    "delay"        waits `seconds` first; with "late": "lose" the connection is cut at once, and it is done later
"""

import base64
import hashlib
import json
import re
import secrets
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

BIGQUERY_SCOPES = {"https://www.googleapis.com/auth/bigquery", "https://www.googleapis.com/auth/cloud-platform"}
CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
PIECE = 256 * 1024
STATUS_NAMES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
                409: "ALREADY_EXISTS", 412: "FAILED_PRECONDITION", 413: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED",
                500: "INTERNAL", 501: "UNIMPLEMENTED", 502: "UNAVAILABLE", 503: "UNAVAILABLE"}


class Answer(Exception):
    """An answer, also as an exception to leave by."""

    def __init__(self, status, body=b"", headers=()):
        super().__init__(status)
        self.status, self.headers = status, list(headers)
        self.body = json.dumps(body).encode() if isinstance(body, (dict, list)) else body


def error(status, reason, message, headers=()):
    return Answer(status, {"error": {
        "code": status, "message": message, "status": STATUS_NAMES.get(status, "UNKNOWN"),
        "errors": [{"message": message, "domain": "global", "reason": reason}]}}, headers)


def unbase64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Account:
    """A service account: its key, whether it lives, what IAM says of it."""

    def __init__(self, email, description=""):
        self.email, self.description, self.disabled = email, description, False
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.key_id = hashlib.sha256(email.encode()).hexdigest()[:40]
        self.may_be_impersonated_by = set()  # e-mails with Token Creator
        self.may_be_looked_at_by = set()     # e-mails with iam.serviceAccounts.get

    def key_file(self, project, token_uri):
        return {"type": "service_account", "project_id": project, "private_key_id": self.key_id,
                "private_key": self.key.private_bytes(
                    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption()).decode(),
                "client_email": self.email, "client_id": "1", "token_uri": token_uri}


class Upload:
    def __init__(self, job, token):
        self.job, self.token, self.bytes, self.answer, self.lock = job, token, bytearray(), None, threading.Lock()


class GoogleStub:
    """One server. Subclasses define bigquery(request) -> Answer and finish_upload(job, bytes) -> Answer."""

    project = "proj"

    def __init__(self, port=0):
        self.lock, self.asking = threading.RLock(), threading.local()
        self.accounts, self.tokens, self.uploads, self.faults = {}, {}, {}, []
        self.requests = []            # "METHOD path" of everything that came
        self.clock_skew = 0           # seconds that our clock is ahead of the caller's
        self.metadata_account = None  # whose token the metadata server gives out
        self.token_seconds = 3599
        self.account = self.add_account("loader@proj.iam.gserviceaccount.com")
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize, disable_nagle_algorithm = 1 << 16, True  # an answer is one packet, not two and a wait

            def log_message(self, *_):
                pass

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except (ConnectionError, TimeoutError):
                    self.close_connection = True

            def serve(self):
                stub.serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request, client_address):
                import sys
                import traceback
                if not isinstance(sys.exception() if hasattr(sys, "exception") else sys.exc_info()[1],
                                  (ConnectionError, ValueError)):
                    traceback.print_exc()

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)

    # ---- life ----

    def start(self):
        self.thread.start()
        return self

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def host(self):
        return f"127.0.0.1:{self.port}"

    def add_account(self, email, description=""):
        self.accounts[email] = Account(email, description)
        return self.accounts[email]

    def key_file(self, account=None):
        return (account or self.account).key_file(self.project, self.url + "/token")

    def fault(self, match, do="error", **more):
        it = {"match": match, "do": do, "skip": 0, "times": 1, "met": 0, **more}
        with self.lock:
            self.faults.append(it)
        return it

    def count(self, pattern):
        with self.lock:
            return sum(1 for r in self.requests if re.search(pattern, r))

    # ---- a request ----

    def serve(self, handler):
        request = Request(handler)
        with self.lock:
            self.requests.append(request.line)
        if request.path == "/_control":
            return handler_answer(handler, self.control(request))
        fault = self.take_fault(request)
        try:
            answer = self.under_fault(fault, request) if fault else self.route(request)
        except Answer as a:
            answer = a
        if answer is None:  # the connection ends without an answer
            handler.close_connection = True
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
            return None
        return handler_answer(handler, answer)

    def take_fault(self, request):
        with self.lock:
            for f in self.faults:
                if not re.search(f["match"], request.line) or f["met"] >= f["skip"] + f["times"]:
                    continue
                f["met"] += 1
                if f["met"] > f["skip"]:
                    return f
        return None

    def under_fault(self, fault, request):
        do = fault["do"]
        if do == "error":
            raise error(fault["status"], fault.get("reason", "backendError"), fault.get("message", "scripted fault"),
                        fault.get("headers", ()))
        if do == "drop":
            return None
        if do == "delay":
            if fault.get("late") == "lose":  # the way back is cut at once, the way there is only slow
                threading.Thread(target=self.later, args=(fault, request), daemon=True).start()
                return None
            return self.later(fault, request)
        if do == "cut":
            upload = self.uploads[request.query["upload_id"]]
            with upload.lock:
                self.check_piece(upload, request)
                upload.bytes += request.body[:fault["bytes"]]
            if fault["status"] == 0:
                return None
            if fault["status"] == 308:
                raise self.so_far(upload)
            raise error(fault["status"], "backendError", "scripted fault")
        try:
            self.route(request)
        except Answer:
            pass
        if do == "lose":
            return None
        raise error(fault["status"], fault.get("reason", "backendError"), "scripted fault")

    def later(self, fault, request):
        time.sleep(fault["seconds"])
        try:
            return self.route(request)
        except Answer as a:
            return a
        finally:
            fault["ended"] = True

    def route(self, request):
        path = request.path
        if path == "/token":
            return self.give_token(request)
        if path.startswith("/computeMetadata/"):
            return self.metadata(request)
        if path.startswith("/v1/projects/"):
            return self.iam(request)
        scopes = self.check_token(request)
        if not scopes & BIGQUERY_SCOPES:
            raise error(403, "insufficientPermissions", "Request had insufficient authentication scopes.")
        if path.startswith("/upload/"):
            return self.upload(request)
        return self.bigquery(request)

    def control(self, request):
        """For tests in another process: {"fault": {...}}, {"set": {"attribute": value}}, {"count": "pattern"},
        {"job_fault": {...}}, {"clear": true}."""
        said = json.loads(request.body)
        if said.get("clear"):
            with self.lock:
                self.faults.clear()
                self.requests.clear()
        if "job_fault" in said:
            self.job_faults.append(said["job_fault"])
        if "fault" in said:
            self.fault(**said["fault"])
        for name, value in said.get("set", {}).items():
            setattr(self, name, value)
        return Answer(200, {"count": self.count(said["count"]) if "count" in said else 0})

    # ---- tokens ----

    def give_token(self, request):
        form = {k: v[0] for k, v in parse_qs(request.body.decode()).items()}
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            raise Answer(400, {"error": "unsupported_grant_type", "error_description": "Invalid grant_type"})
        head, claims, signature = form["assertion"].split(".")
        header, said = json.loads(unbase64url(head)), json.loads(unbase64url(claims))
        account = self.accounts.get(said.get("iss"))
        if account is None:
            raise Answer(400, {"error": "invalid_grant", "error_description": "Invalid grant: account not found"})
        if header.get("alg") != "RS256" or header.get("kid") != account.key_id or header.get("typ") != "JWT":
            raise Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT header"})
        try:
            account.key.public_key().verify(unbase64url(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(),
                                            hashes.SHA256())
        except InvalidSignature:
            raise Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}) from None
        now = time.time() + self.clock_skew
        # Google's own address, whatever way led here: its client writes that whatever the key file says.
        if said.get("aud") != "https://oauth2.googleapis.com/token":
            raise Answer(400, {"error": "invalid_grant", "error_description": "Invalid JWT: Failed audience check."})
        if not (now - 300 < said["iat"] < now + 300 and said["iat"] < said["exp"] <= said["iat"] + 3600):
            raise Answer(400, {"error": "invalid_grant", "error_description":
                               "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
                               "timeframe. Check your iat and exp values in the JWT claim."}, self.date())
        if account.disabled:
            raise Answer(401, {"error": "disabled_client", "error_description": "The OAuth client was disabled."})
        return Answer(200, {"access_token": self.new_token(account.email, said["scope"].split(), self.token_seconds),
                            "expires_in": self.token_seconds, "token_type": "Bearer"})

    def date(self):
        return [("Date", time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + self.clock_skew)))]

    def new_token(self, email, scopes, seconds):
        token = "ya29." + secrets.token_urlsafe(48)
        with self.lock:
            self.tokens[token] = (email, set(scopes), time.time() + seconds)
        return token

    def forget_tokens(self):
        """Every token that was given out is refused from now on."""
        with self.lock:
            self.tokens.clear()

    def caller(self, request):
        given = request.headers.get("Authorization", "")
        with self.lock:
            found = self.tokens.get(given.removeprefix("Bearer ")) if given.startswith("Bearer ") else None
        if found is None or found[2] < time.time():
            raise error(401, "authError", "Request had invalid authentication credentials. Expected OAuth 2 access "
                        "token, login cookie or other valid authentication credential.",
                        [("WWW-Authenticate", 'Bearer realm="https://accounts.google.com/", error="invalid_token"')])
        return found

    def check_token(self, request):
        """Also remembers who asks, for as long as this thread is at the request."""
        self.asking.email, scopes, _ = self.caller(request)
        return scopes

    # ---- this machine, and IAM ----

    def metadata(self, request):
        if request.headers.get("Metadata-Flavor") != "Google":
            raise Answer(403, b"Missing Metadata-Flavor:Google header.")
        if self.metadata_account is None:
            raise Answer(404, b"not found")
        return Answer(200, {"access_token": self.new_token(self.metadata_account, [CLOUD_SCOPE], self.token_seconds),
                            "expires_in": self.token_seconds, "token_type": "Bearer"})

    def iam(self, request):
        who, scopes, _ = self.caller(request)
        if CLOUD_SCOPE not in scopes:
            raise error(403, "insufficientPermissions", "Request had insufficient authentication scopes.")
        found = re.fullmatch(r"/v1/projects/([^/]+)/serviceAccounts/([^/:]+)(:generateAccessToken)?",
                             unquote(request.path))
        if not found:
            raise error(404, "notFound", "no such method")
        account = self.accounts.get(found[2])
        if found[3]:
            if request.method != "POST" or found[1] != "-":
                raise error(404, "notFound", "no such method")
            if account is None or who not in account.may_be_impersonated_by:
                raise error(403, "forbidden", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or "
                            "it may not exist).")
            asked = json.loads(request.body)
            seconds = int(asked.get("lifetime", "3600s").rstrip("s"))
            if seconds > 3600 or not asked.get("scope"):
                raise error(400, "invalid", "Request contains an invalid argument.")
            return Answer(200, {"accessToken": self.new_token(account.email, asked["scope"], seconds),
                                "expireTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))})
        if account is None or who not in account.may_be_looked_at_by:
            raise error(403, "forbidden", "Permission 'iam.serviceAccounts.get' denied on resource (or it may not "
                        "exist).")
        return Answer(200, {"name": f"projects/{found[1]}/serviceAccounts/{account.email}", "email": account.email,
                            "projectId": self.project, "uniqueId": "1", "description": account.description,
                            "disabled": account.disabled})

    # ---- resumable uploads ----

    def upload(self, request):
        kind = request.query.get("uploadType")
        if kind == "multipart":
            return self.multipart(request)
        if kind != "resumable":
            raise error(400, "badRequest", "Unknown upload type")
        uid = request.query.get("upload_id")
        if request.method == "POST":
            if not request.headers.get("Content-Type", "").startswith("application/json"):
                raise error(400, "badRequest", "Metadata part must be JSON")
            uid = secrets.token_hex(16)
            job = json.loads(request.body)
            self.check_job(job)
            with self.lock:
                self.uploads[uid] = Upload(job, request.headers["Authorization"])
            return Answer(200, b"", [
                ("Location", f"{self.url}{request.path}?uploadType=resumable&upload_id={uid}"),
                ("X-GUploader-UploadID", uid)])
        upload = self.uploads.get(uid)
        if upload is None:
            raise error(404, "notFound", "Upload session not found")
        if request.method != "PUT":
            raise error(405, "methodNotAllowed", "PUT or POST")
        with upload.lock:
            if upload.answer is not None:  # the last piece again: the same answer
                return upload.answer
            total = self.check_piece(upload, request)
            upload.bytes += request.body
            if total is None or len(upload.bytes) < total:
                raise self.so_far(upload)
            try:
                upload.answer = self.finish_upload(upload.job, bytes(upload.bytes))
            except Answer as a:
                upload.answer = a
            upload.bytes = bytearray()
            return upload.answer

    @staticmethod
    def so_far(upload):
        n = len(upload.bytes)
        return Answer(308, b"", [("Range", f"bytes=0-{n - 1}")] if n else [])

    @staticmethod
    def check_piece(upload, request):
        """The bytes follow those that are there. Returns the whole length when it is known."""
        text = request.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", text)
        if not found:
            raise error(400, "badRequest", f"Failed to parse Content-Range header: {text}")
        total = None if found[3] == "*" else int(found[3])
        if found[1] is None:
            if request.body:
                raise error(400, "badRequest", "a status request has no body")
            return total
        first, last = int(found[1]), int(found[2])
        if last - first + 1 != len(request.body) or (total is not None and last >= total):
            raise error(400, "badRequest", "Content-Range does not fit the body")
        if first != len(upload.bytes):
            raise error(400, "badRequest", f"Invalid request. According to the Content-Range header, the upload offset "
                        f"is {first} byte(s), which does not match the expected {len(upload.bytes)}.")
        if (total is None or last + 1 < total) and len(request.body) % PIECE:
            raise error(400, "badRequest", "The number of bytes uploaded is required to be equal or greater than "
                        "262144, except for the final request")
        return total

    def multipart(self, request):
        boundary = re.search(r'boundary="?([^";]+)', request.headers["Content-Type"])[1].encode()
        parts = request.body.split(b"--" + boundary)[1:3]
        job, data = (p.split(b"\r\n\r\n", 1)[1].removesuffix(b"\r\n") if b"\r\n\r\n" in p
                     else p.split(b"\n\n", 1)[1].removesuffix(b"\n") for p in parts)
        job = json.loads(job)
        self.check_job(job)
        return self.finish_upload(job, data)

    def check_job(self, job):
        """A subclass may refuse it before a byte arrives."""

    def bigquery(self, request):
        raise NotImplementedError

    def finish_upload(self, job, content):
        raise NotImplementedError


class Request:
    def __init__(self, handler):
        parts = urlsplit(handler.path)
        self.method, self.path = handler.command, parts.path
        self.query = {k: v[-1] for k, v in parse_qs(parts.query, keep_blank_values=True).items()}
        self.raw_query = parts.query
        self.headers = handler.headers
        self.line = f"{handler.command} {handler.path}"
        self.body = self.read(handler)

    @staticmethod
    def read(handler):
        if "chunked" in handler.headers.get("Transfer-Encoding", ""):
            out = b""
            while True:
                n = int(handler.rfile.readline().split(b";")[0], 16)
                out += handler.rfile.read(n)
                handler.rfile.readline()
                if not n:
                    return out
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))

    def json(self):
        import gzip
        body = self.body
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        try:
            it = json.loads(body)
        except ValueError:
            raise error(400, "parseError", "Parse Error") from None
        if not isinstance(it, dict):
            raise error(400, "parseError", "Parse Error")
        return it


def handler_answer(handler, answer):
    handler.send_response_only(answer.status)
    names = {k.lower() for k, _ in answer.headers}
    if "date" not in names:
        handler.send_header("Date", handler.date_time_string())
    for k, v in answer.headers:
        handler.send_header(k, v)
    if answer.body and "content-type" not in names:
        handler.send_header("Content-Type", "application/json; charset=UTF-8")
    if answer.status != 204:
        handler.send_header("Content-Length", str(len(answer.body)))
    handler.end_headers()
    handler.wfile.write(answer.body)
    handler.wfile.flush()
