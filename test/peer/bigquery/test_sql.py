"""Every SQL text that the adapter makes is GoogleSQL: said by the analyser inside goccy's emulator, by dry run.

Not among the suites that run by themselves: building the emulator takes half an hour (test/lib/goccy.sh). Then

    TR_TEST_GOCCY=/path/to/bigquery-emulator script/test sql
"""

import json
import os
import pathlib
import re
import socket
import subprocess
import time

import pytest
import requests

BUILD = pathlib.Path(__file__).resolve().parents[3] / "build" / os.environ.get("TAILRACE_BUILD", "dev")
CASES = [json.loads(line) for line in subprocess.run(
    [BUILD / "test/peer/bigquery/bigquery_sql"], capture_output=True, text=True, check=True).stdout.splitlines()]


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@pytest.fixture(scope="module")
def emulator():
    program = os.environ.get("TR_TEST_GOCCY")
    if not program:
        pytest.skip("TR_TEST_GOCCY does not say where goccy's emulator is")
    port = free_port()
    process = subprocess.Popen([program, "--project=proj", "--host=127.0.0.1", f"--port={port}",
                                f"--grpc-port={free_port()}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}/bigquery/v2/projects/proj"
    for _ in range(200):
        try:
            if requests.get(url + "/datasets", timeout=5).ok:
                break
        except requests.RequestException:
            time.sleep(0.1)
    assert requests.post(url + "/datasets", json={"datasetReference": {"projectId": "proj", "datasetId": "d"}},
                         timeout=30).ok
    yield url
    process.terminate()
    process.wait(20)


def with_parameters(case, name):
    """The emulator takes every array parameter for one of STRING, so they are written out, as empty arrays."""
    kinds = {"recount": {"uuids": "STRING"}, "which": {"uuids": "STRING"},
             "recount_rows": {f"p{i}": k for i, k in enumerate(case.get("parameters", []))}}
    return re.sub(r"@(\w+)", lambda m: f"CAST([] AS ARRAY<{kinds[name][m[1]]}>)", case[name])


@pytest.mark.parametrize("name", ["merge", "replace", "recount", "which", "recount_rows"])
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c['model']}-{'json' if c['json'] else 'text'}")
def test_is_googlesql(emulator, case, name):
    if name not in case:
        return
    for which in ("target", "stage"):
        requests.delete(f"{emulator}/datasets/d/tables/{which}", timeout=30)
        made = requests.post(f"{emulator}/datasets/d/tables", json=case[which], timeout=30)
        assert made.ok, made.text
    body = {"query": with_parameters(case, name), "useLegacySql": False, "dryRun": True}
    said = requests.post(f"{emulator}/queries", json=body, timeout=60)
    # It analyses MERGE before it says that it cannot run one whose source is a subquery.
    assert said.ok or "source must be a single-table reference" in said.text, f"{said.text}\n{body['query']}"


def test_the_analyser_is_one(emulator):
    said = requests.post(f"{emulator}/queries", json={"query": "SELECT 1::INTEGER", "useLegacySql": False, "dryRun": True},
                         timeout=60)
    assert not said.ok
