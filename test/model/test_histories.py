"""The generator's histories, and whatever is held against the reference models with them."""

import inspect
import json
import os
import re
import sys

import history
import pytest
import reference_groups
import reference_persons
import reference_sessions
import reference_warnings
from history_generator import histories
from reference_groups import Groups
from reference_persons import Persons

SEEDS = int(os.environ.get("TR_MODEL_SEEDS", "2000"))
FIRST = int(os.environ.get("TR_MODEL_FIRST", "1"))
SLICE = 50


def stored(lines, output):
    """The history with the instants that the store gave its commands, and the rows that came out."""
    stamps = [line for line in output if line.startswith('{"at":')]
    assert len(stamps) == len(lines)
    told = [re.sub(r'"inserted_at":\d+', f'"inserted_at":{json.loads(stamp)["at"]}', line, count=1)
            for line, stamp in zip(lines, stamps)]
    return told, output[len(stamps):]


def must_be_the_reference(drive, lines, seed):
    told, rows = stored(lines, drive("store_driver", [seed], lines))
    problems = history.compare(history.expect(told), map(history.read_row, rows))
    assert not problems, f"seed {seed}:\n" + "\n".join(p[:400] for p in problems[:20])


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS, SLICE))
def test_the_store_is_as_the_reference(seed, drive):
    must_be_the_reference(drive, list(histories(seed, SLICE)), seed)


def test_the_store_is_as_the_reference_when_persons_are_large(drive):
    must_be_the_reference(drive, list(histories(1000, 6, 100, big=True)), 1000)


def test_a_row_that_changes_is_newer_than_it_was():
    """A warehouse that keeps the row with the higher versions ends with the newest state, whatever order they come in."""
    last = {}
    for command in map(history.read_command, histories(FIRST, 60)):
        models = last.setdefault(command.project, (Persons(command.project), Groups(command.project), {}))
        persons, groups, rows = models
        if isinstance(command, history.Delete):
            persons.delete(command.person_id, command.with_distinct_ids, command.inserted_at)
        else:
            persons.apply(command)
            groups.apply(command)
        for row in [*persons.rows(), *groups.rows()]:
            person = "distinct_id" in row
            key = row["distinct_id"] if person else (row["group_type_index"], row["group_key"])
            version = (row["person_distinct_id_version"], row["person_version"]) if person else row["group_version"]
            before = rows.get(key)
            if before is not None and before[1] != row:
                assert version > before[0], (command, before, row)
                assert row["_inserted_at"] == command.inserted_at
            rows[key] = version, row


def test_a_history_is_the_same_whenever_it_is_told():
    assert list(histories(5, 3)) == list(histories(5, 3))
    assert list(histories(5, 1)) != list(histories(6, 1))


def test_a_result_is_read_as_it_was_written():
    rows = history.expect(histories(1, 3))
    again = [history.read_row(history.write_row(row)) for row in rows]
    assert not history.compare(rows, again)
    again[0]["person_id"] = "x"
    assert len(history.compare(rows, again)) == 1
    assert len(history.compare(rows, again[1:])) == 1


def lines_of(code):
    """The lines of a module's functions, without those that run when it is loaded."""
    found = set()
    if code.co_flags & inspect.CO_OPTIMIZED and code.co_name != "read_lists":
        found = {line for _, _, line in code.co_lines() if line not in (None, code.co_firstlineno)}
    for constant in code.co_consts:
        if hasattr(constant, "co_lines") and code.co_name != "read_lists":
            found |= lines_of(constant)
    return found


def test_histories_reach_every_line_of_the_models():
    """What no history reaches is not tested by them."""
    seen = {module.__file__: set() for module in (reference_persons, reference_sessions, reference_groups,
                                                 reference_warnings)}

    def trace(frame, _event, _argument):
        lines = seen.get(frame.f_code.co_filename)
        if lines is None:
            return None
        lines.add(frame.f_lineno)
        return trace

    told = [*histories(1, 60, 150), *histories(1000, 6, 100, big=True)]
    sys.settrace(trace)
    try:
        history.expect(told)
    finally:
        sys.settrace(None)
    for path, lines in seen.items():
        with open(path, encoding="utf-8") as source:
            missed = lines_of(compile(source.read(), path, "exec")) - lines
        assert not missed, f"{path}: lines {sorted(missed)}"
