"""The fake is no invention of ours: Google's own client takes it for BigQuery."""

import uuid

import pytest
from bq_reader import client
from google.api_core.exceptions import Conflict, Forbidden, NotFound
from google.cloud import bigquery as google


@pytest.fixture
def official(bigquery):
    it = client(bigquery.fake.url, bigquery.fake.key_file())
    yield it
    it.close()


SCHEMA = [google.SchemaField("uuid", "STRING", "REQUIRED"), google.SchemaField("n", "INTEGER"),
          google.SchemaField("j", "JSON"), google.SchemaField("t", "TIMESTAMP"),
          google.SchemaField("u", "STRING", "REPEATED"), google.SchemaField("b", "BOOLEAN"),
          google.SchemaField("f", "FLOAT")]


def make(official, bigquery, name="t"):
    table = google.Table(f"proj.{bigquery.dataset}.{name}", schema=SCHEMA)
    table.time_partitioning = google.TimePartitioning(type_="DAY", field="t")
    return official.create_table(table)


def load(official, table, rows, **more):
    config = google.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", write_disposition="WRITE_APPEND",
                                  create_disposition="CREATE_NEVER", **more)
    return official.load_table_from_json(rows, table, location="europe-west3", job_config=config)


# What nlohmann/json 3.12.0 writes: the first ones are not the shortest.
WRITTEN = [
    ("67.174118", "67.17411800000001"),
    ("-113.47793712", "-113.47793712000001"),
    ("-162.86036", "-162.86035999999999"),
    ("-24.5082179", "-24.508217899999998"),
    ("117.174118", "117.17411800000001"),
    ("59.12134", "59.121339999999996"),
    ("-62.017239", "-62.017238999999996"),
    ("41.75122", "41.751220000000004"),
    ("0.1", "0.1"),
    ("0.2", "0.2"),
    ("0.3", "0.3"),
    ("1", "1.0"),
    ("100", "100.0"),
    ("123456.789", "123456.789"),
    ("1e15", "1e+15"),
    ("1e14", "100000000000000.0"),
    ("999999999999999", "999999999999999.0"),
    ("1e16", "1e+16"),
    ("1e21", "1e+21"),
    ("1e-3", "0.001"),
    ("1e-4", "0.0001"),
    ("1.5e-5", "1.5e-05"),
    ("0.0001", "0.0001"),
    ("0.00123", "0.00123"),
    ("5e-324", "5e-324"),
    ("1e-323", "1e-323"),
    ("2.2250738585072014e-308", "2.2250738585072014e-308"),
    ("2.225073858507201e-308", "2.225073858507201e-308"),
    ("1.7976931348623157e308", "1.7976931348623157e+308"),
    ("9007199254740993e3", "9.007199254740993e+18"),
    ("4.9e-320", "4.9e-320"),
    ("1e22", "1e+22"),
    ("1e23", "9.999999999999999e+22"),
    ("8.41e21", "8.409999999999999e+21"),
    ("9.5e-300", "9.5e-300"),
    ("2e300", "2e+300"),
    ("-0.0", "-0.0"),
    ("0", "0.0"),
    ("-1.5", "-1.5"),
    ("3.141592653589793", "3.141592653589793"),
    ("2.718281828459045", "2.718281828459045"),
    ("1.1805916207174113e21", "1.1805916207174113e+21"),
    ("18446744073709551616", "1.8446744073709552e+19"),
    ("4.35", "4.35"),
    ("0.000001", "1e-06"),
    ("6.02214076e23", "6.02214076e+23"),
    ("1e-300", "1e-300"),
    ("1e100", "1e+100"),
]


def test_numbers_are_written_as_the_services_library_does():
    from decimal import Decimal

    from bq_fake import written
    for number, text in WRITTEN:
        assert written(float(number)) == Decimal(text), number


@pytest.mark.parametrize("number, is_taken", [("67.174118", False), ("67.17411800000001", True), ("67.174119", True),
                                              ("54.10", True), ("1e400", False), ("0.5" + "0" * 1500, False),
                                              ("18446744073709551615", True), ("18446744073709551616", False)])
def test_json_numbers_are_taken_when_they_are_written_alike(bigquery, number, is_taken):
    from bq_fake import JsonNumber
    if is_taken:
        JsonNumber(number)
    else:
        with pytest.raises(ValueError):
            JsonNumber(number)


def test_datasets_tables_and_rows(official, bigquery):
    assert official.get_dataset(bigquery.dataset).location == "europe-west3"
    with pytest.raises(NotFound):
        official.get_dataset("nowhere")
    table = make(official, bigquery)
    assert [f.name for f in official.get_table(table).schema] == [f.name for f in SCHEMA]
    with pytest.raises(Conflict):
        make(official, bigquery)
    rows = [{"uuid": "a", "n": 7, "j": {"x": [1, 2.5, None]}, "t": "2026-11-21T09:30:00.123456Z", "u": ["p", "q"],
             "b": True, "f": 0.5}, {"uuid": "b", "u": []}]
    job = load(official, table, rows)
    job.result()
    assert job.output_rows == 2
    found = {r["uuid"]: r for r in official.list_rows(official.get_table(table))}
    assert found["a"]["n"] == 7 and found["a"]["j"] == {"x": [1, 2.5, None]} and found["a"]["u"] == ["p", "q"]
    assert found["a"]["t"].isoformat() == "2026-11-21T09:30:00.123456+00:00" and found["a"]["b"] is True
    assert found["b"]["n"] is None and found["b"]["u"] == []
    assert [t.table_id for t in official.list_tables(bigquery.dataset)] == ["t"]
    official.delete_table(table)
    with pytest.raises(NotFound):
        official.get_table(table)


def test_a_job_id_is_taken_once(official, bigquery):
    table = make(official, bigquery)
    name = f"mine_{uuid.uuid4()}"
    config = google.LoadJobConfig(source_format="NEWLINE_DELIMITED_JSON", create_disposition="CREATE_NEVER")
    official.load_table_from_json([{"uuid": "a"}], table, job_id=name, location="europe-west3",
                                  job_config=config).result()
    with pytest.raises(Conflict):
        official.load_table_from_json([{"uuid": "a"}], table, job_id=name, location="europe-west3",
                                      job_config=config)
    assert official.get_job(name, location="europe-west3").output_rows == 1
    with pytest.raises(NotFound):
        official.get_job(name, location="us-east1")
    assert len(bigquery.rows("t")) == 1


@pytest.mark.parametrize("row, words", [
    ({"uuid": "x", "zz": 1}, "No such field: zz"), ({"n": 1}, "uuid"), ({"uuid": "x", "n": "abc"}, "integer"),
    ({"uuid": "x", "t": "yesterday"}, "timestamp"), ({"uuid": "x", "u": "p"}, "u")])
def test_a_bad_row_fails_the_load_and_is_named(official, bigquery, row, words):
    table = make(official, bigquery)
    job = load(official, table, [{"uuid": "a"}, row, {"uuid": "b"}])
    with pytest.raises(Exception, match="too many errors"):
        job.result()
    assert job.errors[1]["reason"] == "invalid" and words in job.errors[1]["message"]
    assert "starting at position" in job.errors[1]["message"]
    assert bigquery.rows("t") == []
    job = load(official, table, [{"uuid": "a"}, row, {"uuid": "b"}], max_bad_records=1)
    job.result()
    assert job.output_rows == 2


def test_streams_tell_bad_rows_under_200(official, bigquery):
    table = make(official, bigquery)
    errors = official.insert_rows_json(table, [{"uuid": "a"}, {"uuid": "b", "n": "x"}], row_ids=["1", "2"])
    assert {e["index"]: e["errors"][0]["reason"] for e in errors} == {1: "invalid", 0: "stopped"}
    assert bigquery.rows("t") == []
    errors = official.insert_rows_json(table, [{"uuid": "a"}, {"uuid": "b", "n": "x"}], row_ids=["1", "2"],
                                       skip_invalid_rows=True)
    assert [e["index"] for e in errors] == [1]
    assert official.insert_rows_json(table, [{"uuid": "a"}], row_ids=["1"]) == []
    assert [r["uuid"] for r in bigquery.rows("t")] == ["a"]


def test_rights_are_asked_for(official, bigquery):
    bigquery.fake.permissions.discard("tables.create")
    with pytest.raises(Forbidden, match="tables.create"):
        make(official, bigquery)


def test_merges(official, bigquery):
    make(official, bigquery, "t"), make(official, bigquery, "s")
    load(official, f"proj.{bigquery.dataset}.t", [{"uuid": "a", "n": 1, "f": 1.0}, {"uuid": "b", "n": 5}]).result()
    load(official, f"proj.{bigquery.dataset}.s", [
        {"uuid": "a", "n": 2, "f": 2.0}, {"uuid": "a", "n": 3, "f": 3.0}, {"uuid": "b", "n": 4}, {"uuid": "c"}]).result()
    job = official.query(
        f"MERGE `proj`.`{bigquery.dataset}`.`t` AS t USING (SELECT * EXCEPT (tailrace_rank) FROM (SELECT s.*, "
        "ROW_NUMBER() OVER (PARTITION BY s.`uuid` ORDER BY s.`n` DESC) AS tailrace_rank FROM "
        f"`proj`.`{bigquery.dataset}`.`s` AS s) WHERE tailrace_rank = 1) AS s ON t.`uuid` = s.`uuid` WHEN MATCHED AND "
        "(t.`n` IS NULL OR s.`n` > t.`n`) THEN UPDATE SET `n` = s.`n`, `f` = s.`f` WHEN NOT MATCHED THEN INSERT "
        "(`uuid`, `n`, `f`) VALUES (s.`uuid`, s.`n`, s.`f`)", location="europe-west3")
    job.result()
    assert job.num_dml_affected_rows == 2
    assert {(r["uuid"], r["n"], r["f"]) for r in bigquery.rows("t")} == {("a", 3, 3.0), ("b", 5, None), ("c", None, None)}
