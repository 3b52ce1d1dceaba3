"""Without sslmode, a new Postgres export checks who the server is; a change leaves it as it was."""
import subprocess

EXPORTS = "/api/projects/1/batch_exports/"
CONFIG = {"host": "db.example.com", "user": "u", "password": "p", "database": "d", "table_name": "t"}


def body(**config):
    return {"interval": "hour", "paused": True, "destination": {"type": "Postgres", "config": {**CONFIG, **config}}}


def sslmode(export):
    return export["destination"]["config"]["sslmode"]


def test_a_new_export_says_how_the_server_is_checked_and_keeps_it(server):
    made = server.api("POST", EXPORTS, body())
    path = f"{EXPORTS}{made['id']}/"
    assert sslmode(made) == sslmode(server.api("GET", path)) == "verify-full"
    assert sslmode(server.api("PUT", path, body(connections=2))) == "verify-full"
    assert sslmode(server.api("PATCH", path, {"name": "x"})) == "verify-full"
    assert sslmode(server.api("PUT", path, body(sslmode="require"))) == "require"
    assert sslmode(server.api("PUT", path, body())) == "require"
    other = server.api("POST", EXPORTS, body(table_name="other", has_self_signed_cert=True))
    assert sslmode(other) == "require"


def test_a_server_of_an_unknown_authority_is_refused_with_the_ways_out(server, warehouse, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-days", "2", "-subj", "/CN=Another authority", "-keyout", tmp_path / "key.pem",
                    "-out", tmp_path / "ca.pem"], check=True, capture_output=True)
    unknown = warehouse.destination(host="localhost", sslmode=None, ssl_root_cert=(tmp_path / "ca.pem").read_text())
    export = {"interval": "hour", "paused": True, "test": True}
    refused = server.api("POST", EXPORTS, {**export, "destination": unknown}, expect=400)
    assert refused["code"] == "test_failed"
    for way_out in ("ssl_root_cert", "sslmode require", "has_self_signed_cert"):
        assert way_out in str(refused)
    unchecked = warehouse.destination(host="localhost", sslmode=None, has_self_signed_cert=True)
    assert sslmode(server.api("POST", EXPORTS, {**export, "destination": unchecked})) == "require"
