"""BigQuery, as far as this program uses it, in memory: as strict as the service, and scripted.

For what no other stand-in does: locations, quotas, permissions one by one, jobs that stay PENDING, fail late or are
cancelled, errors that name rows, rows that the JSON type refuses, streaming with row errors under 200. Its answers have
the shapes of the BigQuery v2 REST reference; tests drive it with Google's own client, too (test_bigquery_fake.py).

Faults of jobs, looked through in order when a job begins:
    job_faults.append({"what": "load" | "query" | a label's word, "times": 1, "reason": .., "message": ..})

    bq_fake.py DIR    runs one for tests in other languages, as bq_proxy.py does
"""

import collections
import datetime
import decimal
import fractions
import gzip
import json
import math
import re
import struct
import threading
import time
from urllib.parse import unquote

from google_stub import Answer, GoogleStub, error

SEED_PERMISSIONS = {"jobs.create", "datasets.get", "tables.create", "tables.get", "tables.getData", "tables.list",
                    "tables.updateData", "tables.delete"}
LOADS_A_DAY = 1500
PARTITIONS_A_JOB = 4000
INSERT_BYTES, INSERT_ROWS = 10_000_000, 50_000
# A filter on partitions that lets all of them through.
OWNER = r"(?: AND \(t\.`\w+` = '?(?P<team>\d+)'?(?P<unset> OR t\.`\w+` IS NULL)?\))?"
FILTER = r"( AND \(t\.`(\w+)` IS NULL OR t\.`\w+` >= (?:'0001-01-01'|-9223372036854775808)\))?"
NAME = r"`((?:[^`\\]|\\.)*)`"
# What the service says of a table that streams do not know yet (python-bigquery#1331 and #1396, java-bigquery#2368,
# kafka-connect-bigquery#163; "Table is truncated": the documentation of its errors).
NOT_KNOWN = ["Not found: Table {project}:{dataset}.{table}", "Table 402316535093:{dataset}.{table} not found.",
             "Not found: table Table is deleted: 402316535093:{dataset}.{table}", "Not found: Dataset {project}:{dataset}",
             "Not found: Project {project}", "Table is truncated."]
TABLE = NAME + r"\." + NAME + r"\." + NAME


def micros(text):
    """A TIMESTAMP's text as microseconds."""
    found = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?(Z| UTC|\+00:00)?", text)
    if not found:
        raise ValueError(f"Could not parse '{text}' as a timestamp")
    y, mo, d, h, mi, s = (int(x) for x in found.groups()[:6])
    whole = datetime.datetime(y, mo, d, h, mi, s, tzinfo=datetime.timezone.utc)
    delta = whole - datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + int((found[7] or "0").ljust(6, "0"))


def power_of_ten(k):
    """10^k as f * 2^e with 64 bits, rounded to the nearest."""
    exact = fractions.Fraction(10) ** k
    e = exact.numerator.bit_length() - exact.denominator.bit_length() - 64
    while exact / fractions.Fraction(2) ** e >= 2 ** 64:
        e += 1
    while exact / fractions.Fraction(2) ** e < 2 ** 63:
        e -= 1
    return math.floor(exact / fractions.Fraction(2) ** e + fractions.Fraction(1, 2)), e


POWERS = {}


def grisu2(v):
    """The digits of a positive float64 and the exponent of the last, by Grisu2 with the powers 10^-300, 10^-292 ..: what
    the service's JSON library (nlohmann/json) writes. test_bigquery_fake.py holds it against what that wrote."""
    bits = struct.unpack("<Q", struct.pack("<d", v))[0]
    f, e = bits & (1 << 52) - 1, bits >> 52
    f, e = (f, -1074) if e == 0 else (f | 1 << 52, e - 1075)
    top = 2 * f + 1
    shift = 64 - top.bit_length()
    plus, at = top << shift, e - 1 - shift
    below = (4 * f - 1, e - 2) if f == 1 << 52 and e > -1074 else (2 * f - 1, e - 1)
    minus, middle = below[0] << below[1] - at, f << e - at
    need = -60 - at - 1
    k = math.ceil(need * 0.30102999566398114)
    k = -300 + (k + 300 + 7) // 8 * 8
    if k not in POWERS:
        POWERS[k] = power_of_ten(k)
    c, ce = POWERS[k]
    half = 1 << 63
    high, low, w = (plus * c + half >> 64) - 1, (minus * c + half >> 64) + 1, middle * c + half >> 64
    one = -(at + ce + 64)
    delta, dist, rest = high - low, high - w, high
    unit, n = 1 << one, 0
    while unit * 10 <= high:
        unit, n = unit * 10, n + 1
    digits = 0
    while True:
        d, rest = divmod(rest, unit)
        digits = digits * 10 + d
        if rest <= delta:
            break
        if unit > 1 << one:
            unit //= 10
        else:
            rest, delta, dist = rest * 10, delta * 10, dist * 10
        n -= 1
    while rest < dist and delta - rest >= unit and (rest + unit < dist or dist - rest > rest + unit - dist):
        digits, rest = digits - 1, rest + unit
    return digits, n - k


def written(v):
    """A float64 as a decimal, as the service writes it."""
    if v == 0:
        return decimal.Decimal(math.copysign(0, v))
    digits, exponent = grisu2(abs(v))
    return decimal.Decimal((int(v < 0), tuple(int(c) for c in str(digits)), exponent))


class JsonNumber(float):
    """A number of a JSON value, checked as wide_number_mode "exact" checks it (google/zetasql, CheckNumberRoundtrip)."""

    def __new__(cls, text):
        if re.fullmatch(r"-?\d+", text) and -2 ** 63 <= int(text) < 2 ** 64:
            return int(text)
        value = float(text)
        if len(text) > 1500:
            raise ValueError(f"Input number {text} is too long.")
        if math.isinf(value):
            raise ValueError(f"number overflow parsing '{text}'")
        if decimal.Decimal(text).compare_signal(written(value)) != 0:
            raise ValueError(f"Input number: {text} cannot round-trip through string representation")
        return value


def check_json(value, depth=0):
    if depth > 500:
        raise ValueError("JSON nesting exceeds 500")
    if isinstance(value, str):
        value.encode("utf-8")  # half a surrogate pair has no UTF-8
    elif isinstance(value, list):
        for v in value:
            check_json(v, depth + 1)
    elif isinstance(value, dict):
        for k, v in value.items():
            k.encode("utf-8")
            check_json(v, depth + 1)


def convert(field, value, streamed=False):
    """A value of a load or a stream as the column keeps it."""
    kind, mode = field["type"], field.get("mode", "NULLABLE")
    if mode == "REPEATED":
        if not isinstance(value, list):
            raise ValueError(f"Array specified for non-repeated field: {field['name']}"
                             if value is not None else
                             f"Only optional fields can be set to NULL. Field: {field['name']}; Value: NULL")
        return [convert({**field, "mode": "REQUIRED"}, v) for v in value]
    if value is None:
        if mode == "REQUIRED":
            raise ValueError(f"Only optional fields can be set to NULL. Field: {field['name']}; Value: NULL")
        return None
    if kind == "JSON":
        if streamed:  # a stream takes the text
            if not isinstance(value, str):
                raise ValueError("This field: %s is not a record." % field["name"])
            value = json.loads(value, parse_float=JsonNumber, parse_int=JsonNumber)
        check_json(value)
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if isinstance(value, (dict, list)):
        raise ValueError(f"{field['name']}: an object where there is none")
    if kind == "STRING":
        if not isinstance(value, str):
            value = json.dumps(value)
        value.encode("utf-8")
        if field.get("maxLength") and len(value) > int(field["maxLength"]):
            raise ValueError(f"Field {field['name']}: {value[:20]} has maximum length {field['maxLength']}")
        return value
    if kind in ("INTEGER", "INT64"):
        if isinstance(value, bool) or not re.fullmatch(r"-?\d+", str(value)):
            raise ValueError(f"Could not convert value to integer. Field: {field['name']}; Value: {value}")
        if not isinstance(value, str) and abs(int(value)) > 2 ** 53:
            raise ValueError(f"{field['name']}: {value} may have lost digits on its way: give it as a string")
        if not -2 ** 63 <= int(value) < 2 ** 63:
            raise ValueError(f"{field['name']}: out of range")
        return int(value)
    if kind in ("FLOAT", "FLOAT64"):
        return float(value)
    if kind in ("BOOLEAN", "BOOL"):
        if value in (True, False) and isinstance(value, bool):
            return value
        raise ValueError(f"Could not convert value to boolean. Field: {field['name']}; Value: {value}")
    if kind == "TIMESTAMP":
        return micros(value)
    raise ValueError(f"{field['name']}: {kind} is not known here")


def has_default(field):
    return "defaultValueExpression" in field


def default_of(field):
    """Of literals, which is what tests give."""
    text = field["defaultValueExpression"]
    return text[1:-1] if text[:1] in "'\"" else int(text)


class Table:
    def __init__(self, resource):
        self.resource, self.rows, self.loads = resource, [], 0
        self.made = time.time()
        self.changed = []  # when its last loads began
        self.count = 0  # of rows that nobody looked at
        self.insert_ids = {}

    @property
    def fields(self):
        return {f["name"].lower(): f for f in self.resource["schema"]["fields"]}

    @property
    def gone(self):
        return "expirationTime" in self.resource and int(self.resource["expirationTime"]) / 1000 < time.time()

    def partition_of(self, row):
        """Its first instant."""
        part = self.resource.get("timePartitioning", {})
        value = row.get(part.get("field"))
        if value is None:
            return None
        if part["type"] in ("DAY", "HOUR"):
            length = 86_400_000_000 if part["type"] == "DAY" else 3_600_000_000
            return value // length * length
        day = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(microseconds=value)
        month = day.month if part["type"] == "MONTH" else 1
        return int(datetime.datetime(day.year, month, 1, tzinfo=datetime.timezone.utc).timestamp()) * 1_000_000

    def add(self, rows):
        """What belongs to a partition that has expired is gone at once: "the partition's time plus this value"."""
        life = int(self.resource.get("timePartitioning", {}).get("expirationMs", 0)) * 1000
        now = time.time() * 1e6
        self.rows += [r for r in rows if not life or (self.partition_of(r) or now) + life > now]


class BigQueryFake(GoogleStub):
    def __init__(self, port=0):
        super().__init__(port)
        self.datasets, self.jobs = {}, {}
        self.permissions = set(SEED_PERMISSIONS)
        self.used = set()             # permissions that were asked for
        self.job_faults = []
        self.count_only = False       # rows are counted and not looked at: for much of them
        self.refused_text = None      # rows with this text are refused
        self.table_rate = 0           # load jobs that a table bears in 10 seconds; 0: any number
        self.older_jobs = 0.0         # seconds that jobs say they are older
        self.hidden_jobs = False      # a job that is not there is one that may not be seen
        self.pending_seconds = 0.0    # that a job waits before it runs
        self.running_seconds = 0.0
        self.loads_a_day = LOADS_A_DAY
        self.forget_row_errors = False  # errors that name no row
        self.blind_seconds = 0.0      # that a new table cannot be streamed into; told in the next of NOT_KNOWN each time
        self.lossy_seconds = 0.0      # that rows of a stream into a new table are taken, and gone
        self.not_known = 0            # answers of that kind so far
        self.remember_seconds = 60.0  # that an insertId is remembered
        self.insert_bytes = INSERT_BYTES
        self.never_skip = False       # skipInvalidRows is not known
        self.row_faults = []          # {"every": n, "reason": .., "times": 1}: each nth row of a request fails
        self.streamed = collections.Counter()  # how often each insertId came in a request that was looked at
        self.partitions_a_job = PARTITIONS_A_JOB

    # ---- for tests ----

    def add_dataset(self, name, location="EU"):
        self.datasets[name] = {"location": location, "tables": {}}
        return self.datasets[name]

    def table(self, dataset, name):
        return self.datasets[dataset]["tables"].get(name)

    def rows(self, dataset, name):
        table = self.table(dataset, name)
        return [] if table is None else list(table.rows)

    def jobs_of(self, word):
        return [j for j in self.jobs.values() if j["configuration"].get("labels", {}).get("tailrace") == word]

    # ---- routes ----

    def bigquery(self, request):
        parts = [unquote(p) for p in request.path.split("/")[1:]]
        if parts[:3] != ["bigquery", "v2", "projects"] or len(parts) < 5:
            raise error(404, "notFound", "Not found")
        if parts[3] != self.project:
            raise error(404, "notFound", f"Not found: Project {parts[3]}")
        with self.lock:
            return getattr(self, f"on_{parts[4]}")(request, parts[5:])

    def need(self, permission, what):
        self.used.add(permission)
        if permission not in self.permissions:
            raise error(403, "accessDenied", f"Access Denied: {what}: Permission bigquery.{permission} denied on {what} "
                        "(or it may not exist).")

    def find_dataset(self, name):
        found = self.datasets.get(name)
        if found is None:
            raise error(404, "notFound", f"Not found: Dataset {self.project}:{name}")
        return found

    def find_table(self, dataset, name):
        tables = self.find_dataset(dataset)["tables"]
        if "$" in name:
            raise error(400, "invalid", f"Invalid table ID \"{name}\"")
        if name in tables and tables[name].gone:
            del tables[name]
        if name not in tables:
            raise error(404, "notFound", f"Not found: Table {self.project}:{dataset}.{name}")
        return tables[name]

    def on_datasets(self, request, rest):
        if not rest:
            if request.method == "POST":
                asked = request.json()
                name = asked["datasetReference"]["datasetId"]
                if name in self.datasets:
                    raise error(409, "duplicate", f"Already Exists: Dataset {self.project}:{name}")
                self.add_dataset(name, asked.get("location", "US"))
                return Answer(200, self.dataset_resource(name))
            return Answer(200, {"kind": "bigquery#datasetList", "datasets": [
                self.dataset_resource(n) for n in self.datasets]})
        self.need("datasets.get", f"Dataset {self.project}:{rest[0]}")
        dataset = self.find_dataset(rest[0])
        if len(rest) == 1:
            return Answer(200, self.dataset_resource(rest[0]))
        if rest[1] != "tables":
            raise error(404, "notFound", "Not found")
        return self.on_tables(request, rest[0], dataset, rest[2:])

    def dataset_resource(self, name):
        d = self.datasets[name]
        more = {"defaultPartitionExpirationMs": str(d["partition_ms"])} if d.get("partition_ms") else {}
        it = {**more, "kind": "bigquery#dataset", "id": f"{self.project}:{name}", "location": d["location"],
              "datasetReference": {"projectId": self.project, "datasetId": name}}
        if d.get("lifetime_ms"):
            it["defaultTableExpirationMs"] = str(d["lifetime_ms"])
        return it

    def on_tables(self, request, set_name, dataset, rest):
        where = f"Table {self.project}:{set_name}." + (rest[0] if rest else "")
        if not rest and request.method == "POST":
            self.need("tables.create", f"Dataset {self.project}:{set_name}")
            return self.make_table(request.json(), dataset, set_name)
        if not rest:
            self.need("tables.list", f"Dataset {self.project}:{set_name}")
            return Answer(200, {"kind": "bigquery#tableList", "totalItems": len(dataset["tables"]), "tables": [
                {"tableReference": t.resource["tableReference"], "type": "TABLE", "id": n}
                for n, t in dataset["tables"].items() if not t.gone]})
        if rest[1:] == ["insertAll"]:
            self.need("tables.updateData", where)
            return self.insert_all(request, set_name, rest[0])
        if rest[1:] == ["data"]:
            self.need("tables.getData", where)
            return self.list_rows(request, self.find_table(set_name, rest[0]))
        if request.method in ("PATCH", "PUT"):
            self.need("tables.update", where)
        if request.method == "DELETE":
            self.need("tables.delete", where)
            self.find_table(set_name, rest[0])
            del dataset["tables"][rest[0]]
            return Answer(204)
        self.need("tables.get", where)
        return Answer(200, self.table_resource(self.find_table(set_name, rest[0])))

    def make_table(self, asked, dataset, set_name):
        name = asked["tableReference"]["tableId"]
        if not re.fullmatch(r"[\w\- ]{1,1024}", name):
            raise error(400, "invalid", f"Invalid table ID \"{name}\".")
        if name in dataset["tables"] and not dataset["tables"][name].gone:
            raise error(409, "duplicate", f"Already Exists: Table {self.project}:{set_name}.{name}")
        for f in asked.get("schema", {}).get("fields", []):
            if not re.fullmatch(r"[^!\"$()*,./;?@\[\\\]^`{}~]{1,300}", f["name"]):
                raise error(400, "invalid", f"Invalid field name \"{f['name']}\".")
            if f["type"] not in ("STRING", "JSON", "INTEGER", "INT64", "FLOAT", "FLOAT64", "BOOLEAN", "BOOL", "TIMESTAMP"):
                raise error(400, "invalid", f"Invalid value for type: {f['type']}")
        part = asked.get("timePartitioning")
        if part and part.get("field", "").lower() not in {f["name"].lower() for f in asked["schema"]["fields"]}:
            raise error(400, "invalid", "The field specified for partitioning cannot be found in the schema")
        if "expirationTime" in asked and int(asked["expirationTime"]) / 1000 < time.time():
            raise error(400, "invalid", "expirationTime is in the past")
        if part and dataset.get("partition_ms"):
            asked = {**asked, "timePartitioning": {"expirationMs": str(dataset["partition_ms"]), **part}}
        elif dataset.get("lifetime_ms"):
            asked = {"expirationTime": str(int(time.time() * 1000) + dataset["lifetime_ms"]), **asked}
        dataset["tables"][name] = Table({"type": "TABLE", "creationTime": str(int(time.time() * 1000)), **asked})
        return Answer(200, self.table_resource(dataset["tables"][name]))

    def table_resource(self, table):
        r = table.resource
        ref = r["tableReference"]
        return {"kind": "bigquery#table", "id": f"{self.project}:{ref['datasetId']}.{ref['tableId']}",
                "numRows": str(len(table.rows)), "etag": "x", **r}

    def list_rows(self, request, table):
        start = int(request.query.get("startIndex") or request.query.get("pageToken") or 0)
        most = int(request.query.get("maxResults", 10000))
        as_int = request.query.get("formatOptions.useInt64Timestamp", "").lower() == "true"

        def cell(field, v):
            if v is None:
                return {"v": None}
            if isinstance(v, list):
                return {"v": [cell(field, x) for x in v]}
            if field["type"] == "TIMESTAMP":
                return {"v": str(v) if as_int else repr(v / 1e6)}
            if isinstance(v, bool):
                return {"v": "true" if v else "false"}
            return {"v": str(v)}
        page = table.rows[start:start + most]
        answer = {"kind": "bigquery#tableDataList", "totalRows": str(len(table.rows)), "rows": [
            {"f": [cell(f, row.get(f["name"])) for f in table.resource["schema"]["fields"]]} for row in page]}
        if start + most < len(table.rows):
            answer["pageToken"] = str(start + most)
        return Answer(200, answer)

    # ---- jobs ----

    def on_jobs(self, request, rest):
        if not rest and request.method == "POST":
            self.need("jobs.create", f"Project {self.project}")
            return self.insert_job(request.json())
        if not rest:
            return Answer(200, {"jobs": [self.job_resource(j) for j in self.jobs.values()]})
        # Without a location only US and EU are looked through; another one's is not found.
        where = request.query.get("location")
        job = self.jobs.get((where, rest[0])) if where else next(
            (j for (loc, name), j in self.jobs.items() if name == rest[0] and loc in ("US", "EU")), None)
        of_another = job is not None and job["user"] != self.asking.email and "jobs.get" not in self.permissions
        if of_another or (job is None and self.hidden_jobs and "jobs.get" not in self.permissions):
            name = f"{self.project}:{where or 'US'}.{rest[0]}"
            raise error(403, "accessDenied", f"Access Denied: Job {name}: Permission bigquery.jobs.get denied on job "
                        f"{name} (or it may not exist).")
        if job is None:
            raise error(404, "notFound", f"Not found: Job {self.project}:{rest[0]}")
        if rest[1:] == ["cancel"]:
            if self.state_of(job) != "DONE":
                self.end_job(job, {"reason": "stopped", "message": "Job execution was cancelled: User requested "
                                   "cancellation"})
            return Answer(200, {"kind": "bigquery#jobCancelResponse", "job": self.job_resource(job)})
        return Answer(200, self.job_resource(job))

    def check_job(self, job):
        """Also before an upload begins: what is wrong with the job itself is told at once."""
        ref = job.get("jobReference", {})
        conf = job.get("configuration", {})
        if ref.get("jobId") is not None and not re.fullmatch(r"[A-Za-z0-9_-]{1,1024}", ref["jobId"]):
            raise error(400, "invalid", f"Invalid job ID \"{ref['jobId']}\"")
        for k, v in conf.get("labels", {}).items():
            if not re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", k) or not re.fullmatch(r"[a-z0-9_-]{0,63}", v):
                raise error(400, "invalid", f"Label {k}={v} is not valid")
        self.need("jobs.create", f"Project {self.project}")
        if not ({"load", "query", "copy", "extract"} & conf.keys()):
            raise error(400, "required", "Job configuration must contain exactly one job-specific configuration")
        if "load" in conf and "$" in conf["load"]["destinationTable"]["tableId"]:
            raise error(400, "invalid", "a partition decorator is not what this program writes to")

    def location_of(self, job):
        conf = job["configuration"]
        given = job.get("jobReference", {}).get("location")
        if "load" in conf:
            name = conf["load"]["destinationTable"]["datasetId"]
            is_at = self.find_dataset(name)["location"]
            if (given or "US") != is_at:
                raise error(404, "notFound", f"Not found: Dataset {self.project}:{name} was not found in location "
                            f"{given or 'US'}")
        return given or "US"

    def location_of_dataset(self, asked, sql):
        dataset = re.search(TABLE, sql)[2]
        if asked.get("jobReference", {}).get("location") != self.find_dataset(dataset)["location"]:
            raise error(404, "notFound", f"Not found: Dataset {self.project}:{dataset} was not found in location US")

    def insert_job(self, asked, content=None):
        self.check_job(asked)
        conf = asked["configuration"]
        if conf.get("dryRun"):
            if conf["query"]["query"].startswith("MERGE "):
                self.location_of_dataset(asked, conf["query"]["query"])
                self.merge(conf["query"]["query"], None)
            return Answer(200, {"kind": "bigquery#job", "status": {"state": "DONE"}, "configuration": conf,
                                "jobReference": {"projectId": self.project, "location": "US"},
                                "statistics": {"query": {"totalBytesProcessed": "0"}}})
        location = self.location_of(asked)
        name = asked.get("jobReference", {}).get("jobId") or f"job_{len(self.jobs)}"
        if (location, name) in self.jobs:
            raise error(409, "duplicate", f"Already Exists: Job {self.project}:{location}.{name}")
        job = {"configuration": conf, "made": time.time(), "result": None, "statistics": {}, "errors": [],
               "user": self.asking.email,
               "jobReference": {"projectId": self.project, "jobId": name, "location": location},
               "content": content, "lock": threading.Lock()}
        job["fault"] = self.take_job_fault(conf)
        self.jobs[location, name] = job
        self.state_of(job)  # runs it, when nothing holds it up
        return Answer(200, self.job_resource(job))

    def take_job_fault(self, conf):
        kinds = {conf.get("labels", {}).get("tailrace"), *conf.keys()}
        for f in self.job_faults:
            if f["what"] in kinds and f.get("times", 1) > 0:
                f["times"] = f.get("times", 1) - 1
                return f
        return None

    def state_of(self, job):
        if job["result"] is not None:
            return "DONE"
        age = time.time() - job["made"]
        pending = (job["fault"] or {}).get("pending_seconds", self.pending_seconds)
        if age < pending:
            return "PENDING"
        if age < pending + self.running_seconds:
            return "RUNNING"
        self.run_job(job)
        return "DONE"

    def end_job(self, job, failure=None):
        job["result"] = failure or {}
        job["content"] = None

    def run_job(self, job):
        fault = job["fault"]
        try:
            if fault and fault.get("reason"):
                raise error(400, fault["reason"], fault.get("message", "scripted fault"))
            if "load" in job["configuration"]:
                self.run_load(job)
            else:
                job["answer"] = self.run_query(job["configuration"]["query"], job)
            self.end_job(job)
        except Answer as a:
            e = json.loads(a.body)["error"]["errors"][0]
            failure = {"reason": e["reason"], "message": e["message"]}
            job["errors"] = job["errors"] or [failure]
            self.end_job(job, failure)

    def job_resource(self, job):
        state = self.state_of(job)
        ref = job["jobReference"]
        status = {"state": state}
        if job["result"]:
            status["errorResult"] = job["result"]
        if state == "DONE" and job["errors"]:
            status["errors"] = job["errors"]
        return {"kind": "bigquery#job", "id": f"{self.project}:{ref['location']}.{ref['jobId']}", "jobReference": ref,
                "etag": "x", "user_email": job["user"],
                "configuration": {"jobType": "LOAD" if "load" in job["configuration"] else "QUERY",
                                  **job["configuration"]},
                "statistics": {"creationTime": str(int((job["made"] - self.older_jobs) * 1000)), **job["statistics"]}, "status": status}

    def finish_upload(self, job, content):
        if "load" not in job.get("configuration", {}):
            raise error(400, "invalid", "only loads have contents")
        with self.lock:
            return self.insert_job(job, content)

    # ---- loads ----

    def run_load(self, job):
        conf = job["configuration"]["load"]
        ref = conf["destinationTable"]
        name = f"{self.project}:{ref['datasetId']}.{ref['tableId']}"
        if conf.get("sourceFormat") != "NEWLINE_DELIMITED_JSON":
            raise error(400, "invalid", "only NDJSON here")
        try:
            table = self.find_table(ref["datasetId"], ref["tableId"])
        except Answer:
            if conf.get("createDisposition") == "CREATE_NEVER" or "schema" not in conf:
                raise error(404, "notFound", f"Not found: Table {name}") from None
            self.make_table({"tableReference": ref, "schema": conf["schema"]},
                            self.find_dataset(ref["datasetId"]), ref["datasetId"])
            table = self.find_table(ref["datasetId"], ref["tableId"])
        self.need("tables.updateData", f"Table {name}")
        if conf.get("writeDisposition", "WRITE_APPEND") != "WRITE_APPEND":
            self.need("tables.update", f"Table {name}")
            table.rows.clear()
        table.loads += 1
        if table.loads > self.loads_a_day:
            raise error(403, "quotaExceeded", "Quota exceeded: Your table exceeded quota for imports or query appends "
                        "per table. For more information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas")
        self.check_rate(table)
        self.check_schema(conf, table, name)
        self.load_lines(job, table, int(conf.get("maxBadRecords", 0)))

    def check_rate(self, table):
        now = time.time()
        table.changed = [t for t in table.changed if now - t < 10]
        if self.table_rate and len(table.changed) >= self.table_rate:
            raise error(403, "rateLimitExceeded", "Exceeded rate limits: too many table update operations for this table. "
                        "For more information, see https://cloud.google.com/bigquery/docs/troubleshoot-quotas")
        table.changed.append(now)

    @staticmethod
    def check_schema(conf, table, name):
        """A schema in the job may leave columns out, and must be the table's otherwise."""
        same = {"INT64": "INTEGER", "FLOAT64": "FLOAT", "BOOL": "BOOLEAN"}
        for f in conf.get("schema", {}).get("fields", []):
            has = table.fields.get(f["name"].lower())
            if has is None:
                raise error(400, "invalid", f"Provided Schema does not match Table {name}. Cannot add fields (field: "
                            f"{f['name']})")
            for what, otherwise in (("type", None), ("mode", "NULLABLE"), ("maxLength", None)):
                a, b = f.get(what, otherwise), has.get(what, otherwise)
                if same.get(a, a) != same.get(b, b):
                    raise error(400, "invalid", f"Provided Schema does not match Table {name}. Field {f['name']} has changed "
                                f"{what} from {b} to {a}")

    def load_lines(self, job, table, max_bad):
        content, conf = job["content"], job["configuration"]["load"]
        squeezed = content[:2] == b"\x1f\x8b"
        text = gzip.decompress(content) if squeezed else content
        rows, errors, at = [], [], 0
        if self.count_only:
            rows = [{}] * text.count(b"\n")
        for line in text.split(b"\n") if not self.count_only else []:
            if line.strip():
                try:
                    rows.append(self.load_line(table, line, conf.get("schema")))
                except ValueError as e:  # UnicodeError and JSONDecodeError are two of them
                    errors.append({"reason": "invalid", "message": "Error while reading data, error message: JSON "
                                   f"parsing error in row starting at position {at}: {e}"})
            at += len(line) + 1
        parts = {table.partition_of(r) for r in rows} if "timePartitioning" in table.resource else set()
        job["statistics"]["load"] = {"inputFiles": "1", "inputFileBytes": str(len(content)), "outputRows": "0",
                                     "badRecords": str(len(errors)), "outputBytes": str(len(text))}
        if self.forget_row_errors:
            job["errors"] = [{"reason": "invalid", "message": "Error while reading data"}] if errors else []
        else:
            job["errors"] = errors[:5]
        if len(errors) > max_bad:
            summary = {"reason": "invalid", "message": "Error while reading data, error message: JSON table encountered "
                       f"too many errors, giving up. Rows: {len(rows) + len(errors)}; errors: {len(errors)}. Please "
                       "look into the errors[] collection for more details."}
            job["errors"].insert(0, summary)
            raise error(400, "invalid", summary["message"])
        if len(parts) > self.partitions_a_job:
            raise error(400, "quotaExceeded", "Quota exceeded: Your table exceeded quota for Number of partition "
                        "modifications")
        table.add(rows if not self.count_only else [])
        job["statistics"]["load"]["outputRows"] = str(len(rows))

    def load_line(self, table, line, schema):
        if len(line) > 100_000_000:
            raise ValueError("Row size is too large")
        if self.refused_text and self.refused_text.encode() in line:
            raise ValueError("refused text")

        def bare(word):
            raise ValueError(f"{word} is no JSON")
        given = json.loads(line.decode("utf-8"), parse_float=lambda t: Number(t), parse_int=lambda t: Number(t),
                           parse_constant=bare)
        if not isinstance(given, dict):
            raise ValueError("Value encountered without start of object.")
        fields = table.fields
        if schema:  # the other columns get their default; without a schema they are null
            known = {f["name"].lower() for f in schema["fields"]}
            row = {f["name"]: default_of(f) for k, f in fields.items() if k not in known and has_default(f)}
            fields = {k: f for k, f in fields.items() if k in known}
        else:
            row = {}
        for k, v in given.items():
            if k.lower() not in fields:
                raise ValueError(f"No such field: {k}.")
            field = fields[k.lower()]
            row[field["name"]] = convert(field, plain(v, field["type"] == "JSON"))
        for f in table.fields.values():
            if f["name"] not in row and f.get("mode") == "REQUIRED":
                raise ValueError(f"Missing required field: {f['name']}.")
            row.setdefault(f["name"], [] if f.get("mode") == "REPEATED" else None)
        return row

    # ---- queries ----

    def on_queries(self, request, rest):
        if rest:
            job = self.jobs.get((request.query.get("location") or "US", rest[0]))
            if job is None:
                raise error(404, "notFound", f"Not found: Job {self.project}:{rest[0]}")
        else:
            self.need("jobs.create", f"Project {self.project}")
            asked = request.json()
            if asked.get("useLegacySql", True):
                raise error(400, "invalid", "legacy SQL is not what this program writes")
            conf = {k: v for k, v in asked.items() if k in ("query", "queryParameters", "useQueryCache")}
            name = f"query_{len(self.jobs)}"
            self.insert_job({"jobReference": {"jobId": name, "location": asked.get("location", "US")},
                             "configuration": {"query": conf}})
            job = self.jobs[asked.get("location", "US"), name]
        complete = self.state_of(job) == "DONE"
        answer = {"kind": "bigquery#queryResponse", "jobReference": job["jobReference"], "jobComplete": complete}
        if complete and job["result"]:
            raise error(400, job["result"]["reason"], job["result"]["message"])
        if complete:
            rows = job.get("answer") or []
            answer |= {"totalRows": str(len(rows)), "cacheHit": False,
                       "schema": {"fields": [{"name": f"f{i}_", "type": "INTEGER" if isinstance(v, int) else "STRING"}
                                             for i, v in enumerate(rows[0])] if rows else []},
                       "rows": [{"f": [{"v": None if v is None else str(v)} for v in row]} for row in rows]}
        return Answer(200, answer)

    def run_query(self, conf, job):
        sql = conf["query"]
        found = re.fullmatch(r"SELECT '[^']*'", sql)
        if found:
            return [[sql[8:-1]]]
        if sql.startswith("MERGE "):
            return self.merge(sql, job)
        if sql.startswith("SELECT COUNT(DISTINCT u), COUNT(*) FROM UNNEST(@uuids)"):
            return self.count_uuids(sql, conf)
        if sql.startswith("SELECT STRING_AGG(DISTINCT CAST(i AS STRING)) FROM UNNEST(@uuids)"):
            return self.which_uuids(sql, conf)
        if sql.startswith("SELECT COUNT(DISTINCT IF(newer"):
            return self.count_rows(sql, conf)
        raise error(400, "invalidQuery", f"Syntax error: this fake does not know {sql[:60]}")

    def table_named(self, found, permission):
        project, dataset, name = (re.sub(r"\\(.)", r"\1", x) for x in found)
        self.need(permission, f"Table {project}:{dataset}.{name}")
        return self.find_table(dataset, name)

    def check_filter(self, table, column):
        r = table.resource
        needed = r.get("requirePartitionFilter") or r.get("timePartitioning", {}).get("requirePartitionFilter")
        by = r.get("rangePartitioning", r.get("timePartitioning", {})).get("field", "_PARTITIONTIME")
        if needed and column != by:
            raise error(400, "invalidQuery", f"Cannot query over table 't' without a filter over column(s) '{by}' that can be "
                        "used for partition elimination")

    def merge(self, sql, job):
        found = re.fullmatch(
            rf"MERGE {TABLE} AS t USING \(SELECT \* EXCEPT \(tailrace_rank\) FROM \(SELECT s\.\*, ROW_NUMBER\(\) OVER "
            rf"\(PARTITION BY (.*?) ORDER BY (.*?)\) AS tailrace_rank FROM {TABLE} AS s\) WHERE tailrace_rank = 1\) AS s "
            r"ON (.*?)" + FILTER + r" WHEN MATCHED AND (.*) THEN UPDATE SET (.*?) WHEN NOT MATCHED THEN INSERT \((.*?)\) VALUES "
            r"\((.*?)\)", sql)
        if not found:
            raise error(400, "invalidQuery", "Syntax error in MERGE")
        target = self.table_named(found.groups()[:3], "tables.updateData")
        self.table_named(found.groups()[:3], "tables.getData")
        stage = self.table_named(found.groups()[5:8], "tables.getData")
        keys = re.findall(NAME, found[4])
        versions = re.findall(rf"s\.{NAME} DESC", found[5])
        if found[9] != " AND ".join(f"t.`{k}` = s.`{k}`" for k in keys):
            raise error(400, "invalidQuery", "the rows of a key are not those that are matched")
        self.check_filter(target, found[11])
        newer, columns = python_of(found[12]), re.findall(NAME, found[14])
        changed = re.findall(rf"{NAME} = s\.{NAME}", found[13])
        if job is None:  # a dry run
            return []
        newest = {}
        for row in stage.rows:
            key = tuple(row.get(k) for k in keys)
            rank = [(row.get(v) is not None, row.get(v) or 0) for v in versions]
            if key not in newest or rank > newest[key][0]:
                newest[key] = rank, row
        there = {}
        for row in target.rows:
            there.setdefault(tuple(row.get(k) for k in keys), []).append(row)
        n = 0
        for key, (_, s) in newest.items():
            for t in there.get(key, []):
                if eval(newer, {"s": s, "t": t, **COMPARE}):  # text of our own making
                    t.update({a: s.get(b) for a, b in changed})
                    n += 1
            if key not in there:
                target.rows.append({f["name"]: default_of(f) if has_default(f) else None for f in target.fields.values()}
                                   | {c: s.get(c) for c in columns})
                n += 1
        job["statistics"]["query"] = {"statementType": "MERGE", "numDmlAffectedRows": str(n)}
        return []

    @staticmethod
    def parameters(conf):
        return {p["name"]: [v["value"] for v in p["parameterValue"]["arrayValues"]] for p in conf["queryParameters"]}

    @staticmethod
    def rows_of(table, found):
        """Those of the project that the statement names."""
        if found["team"] is None:
            return table.rows
        return [r for r in table.rows if str(r.get("team_id")) == found["team"] or (found["unset"] and r.get("team_id") is None)]

    def count_uuids(self, sql, conf):
        found = re.fullmatch(r".* JOIN " + TABLE + r" AS t ON t\." + NAME + " = u" + OWNER + FILTER, sql)
        table = self.table_named(found.groups()[:3], "tables.getData")
        self.check_filter(table, found[8])
        asked = set(self.parameters(conf)["uuids"])
        hits = [r[found[4]] for r in self.rows_of(table, found) if r.get(found[4]) in asked]
        return [[len(set(hits)), len(hits)]]

    def which_uuids(self, sql, conf):
        found = re.fullmatch(r".* JOIN " + TABLE + r" AS t ON t\." + NAME + " = u" + OWNER + FILTER, sql)
        table = self.table_named(found.groups()[:3], "tables.getData")
        self.check_filter(table, found[8])
        there = {r[found[4]] for r in self.rows_of(table, found)}
        hits = [str(i) for i, u in enumerate(self.parameters(conf)["uuids"]) if u in there]
        return [[",".join(hits) or None]]

    def count_rows(self, sql, conf):
        found = re.fullmatch(r"SELECT COUNT\(DISTINCT IF\(newer, i, NULL\)\), COUNT\(\*\) - COUNT\(DISTINCT i\) FROM "
                             r"\(SELECT i, (\(.*\)) AS newer FROM UNNEST\(@p0\) AS k WITH OFFSET AS i JOIN " + TABLE +
                             r" AS t ON (.*?)" + FILTER + r"\)", sql)
        table = self.table_named(found.groups()[1:4], "tables.getData")
        self.check_filter(table, found[7])
        p = self.parameters(conf)
        keys = re.findall(rf"t\.{NAME} = ", found[5])
        newer = re.sub(r"@(p\d+)\[OFFSET\(i\)\]", r"@\1", found[1])
        newer = re.sub(rf"t\.{NAME} (>=|>|=) @(p\d+)",
                       lambda m: f"{NAMES[m[2]]}(t.get({m[1]!r}), like(t.get({m[1]!r}), p[{m[3]!r}][i]))", newer)
        newer = newer.replace(" OR ", " or ").replace(" AND ", " and ")

        def like(there, text):
            return int(text) if isinstance(there, int) and re.fullmatch(r"-?\d+", text) else (
                micros(text) if isinstance(there, int) else text)
        newest, rows, matched = set(), 0, set()
        for i in range(len(p["p0"])):
            for t in table.rows:
                if all(str(t.get(k)) == p[f"p{n}"][i] for n, k in enumerate(keys)):
                    rows += 1
                    matched.add(i)
                    if eval(newer, {"t": t, "p": p, "i": i, "like": like, **COMPARE}):
                        newest.add(i)
        return [[len(newest), rows - len(matched)]]

    # ---- streams ----

    def insert_all(self, request, set_name, name):
        if len(request.body) > self.insert_bytes:
            raise error(413, "uploadTooLarge", "Request payload size exceeds the limit: 10485760 bytes.")
        table = self.find_table(set_name, name)
        age = time.time() - table.made
        if age < self.blind_seconds:
            words = NOT_KNOWN[self.not_known % len(NOT_KNOWN)]
            self.not_known += 1
            raise error(404, "notFound", words.format(project=self.project, dataset=set_name, table=name))
        asked = request.json()
        rows = asked.get("rows", [])
        if not rows or len(rows) > INSERT_ROWS:
            raise error(400, "invalid", "No rows present in the request." if not rows else "too many rows present in "
                        f"the request, limit: {INSERT_ROWS} row count: {len(rows)}.")
        if self.count_only:
            table.count += len(rows)
            return Answer(200, {"kind": "bigquery#tableDataInsertAllResponse"})
        good, errors = [], []
        fault = next((f for f in self.row_faults if f.setdefault("times", 1) > 0), None)
        if fault:
            fault["times"] -= 1
        for i, row in enumerate(rows):
            self.streamed[(row.get("insertId") or "")[:36]] += 1
            if len(row.get("insertId") or "") > 128:
                raise error(400, "invalid", "Insert ID is too long")
            if set(row) - {"insertId", "json"}:
                raise error(400, "invalid", f"Unknown name in rows[{i}]")
            if fault and i % fault["every"] == 0:
                errors.append({"index": i, "errors": [{"reason": fault["reason"], "location": "", "debugInfo": "",
                                                       "message": fault.get("message", "scripted fault")}]})
                continue
            try:
                good.append((i, row.get("insertId"), self.stream_row(table, row["json"])))
            except RowError as e:
                errors.append({"index": i, "errors": [{"reason": "invalid", "location": e.field, "debugInfo": "",
                                                       "message": e.message}]})
        if errors and (self.never_skip or not asked.get("skipInvalidRows")):
            errors += [{"index": i, "errors": [{"reason": "stopped", "location": "", "debugInfo": "", "message": ""}]}
                       for i, _, _ in good]
            return Answer(200, {"kind": "bigquery#tableDataInsertAllResponse", "insertErrors": errors})
        now = time.time()
        for _, insert_id, row in good if age >= self.lossy_seconds else []:
            if insert_id is not None and now - table.insert_ids.get(insert_id, -1e9) < self.remember_seconds:
                continue
            table.insert_ids[insert_id] = now
            table.add([row])
        answer = {"kind": "bigquery#tableDataInsertAllResponse"}
        if errors:
            answer["insertErrors"] = errors
        return Answer(200, answer)

    @staticmethod
    def stream_row(table, given):
        fields, row = table.fields, {}
        for k, v in given.items():
            if k.lower() not in fields:
                raise RowError(k, f"no such field: {k}.")
            field = fields[k.lower()]
            try:
                row[field["name"]] = convert(field, v, streamed=True)
            except ValueError as e:
                raise RowError(k, str(e)) from None
        row |= {f["name"]: default_of(f) for f in fields.values() if f["name"] not in row and has_default(f)}
        for f in fields.values():
            if f["name"] not in row and f.get("mode") == "REQUIRED":
                raise RowError(f["name"], "Missing required field: " + f["name"])
            row.setdefault(f["name"], [] if f.get("mode") == "REPEATED" else None)
        part = table.resource.get("timePartitioning")
        if part and row.get(part["field"]) is not None:
            days = (row[part["field"]] / 1e6 - time.time()) / 86400
            if not -3650 <= days <= 366:
                raise RowError(part["field"], "Value is out of the allowed bounds. You can only stream to date range "
                               "within 3650 days in the past and 366 days in the future relative to the current date.")
        return row


class RowError(Exception):
    def __init__(self, field, message):
        super().__init__(message)
        self.field, self.message = field, message


class Number(str):
    """A JSON number's text, until it is known what it goes into."""


def plain(value, is_json):
    if isinstance(value, Number):
        if is_json:
            return JsonNumber(str(value))
        return int(value) if re.fullmatch(r"-?\d+", value) else float(value)
    if isinstance(value, list):
        return [plain(v, is_json) for v in value]
    if isinstance(value, dict):
        return {k: plain(v, is_json) for k, v in value.items()}
    return value


NAMES = {">": "gt", ">=": "ge", "=": "eq"}
COMPARE = {
    "gt": lambda a, b: a is not None and b is not None and a > b,
    "ge": lambda a, b: a is not None and b is not None and a >= b,
    "eq": lambda a, b: a is not None and b is not None and a == b,
}


def python_of(condition):
    """The condition of a MERGE, whose comparisons with NULL are not true."""
    text = re.sub(rf"t\.{NAME} IS NULL", r"(t.get('\1') is None)", condition)
    text = re.sub(rf"s\.{NAME} IS NOT NULL", r"(s.get('\1') is not None)", text)
    text = re.sub(rf"s\.{NAME} (>=|>|=) t\.{NAME}", lambda m: f"{NAMES[m[2]]}(s.get({m[1]!r}), t.get({m[3]!r}))", text)
    return text.replace(" OR ", " or ").replace(" AND ", " and ")


def main():
    import pathlib
    import sys
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    fake = BigQueryFake().start()
    key = folder / "key.json"
    key.write_text(json.dumps(fake.key_file()))
    print(json.dumps({"url": fake.url, "host": fake.host, "key": str(key)}), flush=True)
    sys.stdin.read()
    fake.stop()


if __name__ == "__main__":
    main()
