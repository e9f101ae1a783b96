"""Databases and backups of every released version: the program opens them, finds them sound and shows their rows.

What is in them is the story of WriteGoldenDatabase() in src/store/golden_testing.cc, told here once more; src/store/golden_test.cc
compares every row of every table.
"""

import json
import pathlib
import shutil

import pytest

HERE = pathlib.Path(__file__).parent
DATABASES = sorted(HERE.glob("database-*/"))
BACKUPS = sorted(HERE.glob("snapshot-*/"))


def items(quantities):
    """Rows of main.items as the story writes them."""
    return [{"book": "bid" if number % 2 else "ask", "number": number, "quantity": quantity,
             "note": f"note {number}" if number % 3 else None} for number, quantity in sorted(quantities.items())]


AT_SNAPSHOT = {number: 1 for number in range(1, 13) if number != 5} | {4: 2, 13: 2}
AT_END = {number: quantity for number, quantity in AT_SNAPSHOT.items() if number != 3} | {21: 4, 1: 5, 2: 5}


def copied(folder, to):
    shutil.copytree(folder, to)
    return to


def done(program, *arguments):
    ran = program.run(*arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def rows(program, data, sql):
    return [json.loads(line) for line in done(program, "sql", "--data", data, "--format", "ndjson", sql).splitlines()]


def counts(program, data, tables):
    union = " UNION ALL ".join(f"SELECT '{name}' AS name, count(*) AS n FROM {name}" for name in tables)
    return {row["name"]: row["n"] for row in rows(program, data, union)}


def test_there_is_a_version():
    assert DATABASES and len(DATABASES) == len(BACKUPS)


@pytest.mark.parametrize("folder", DATABASES, ids=lambda path: path.name)
def test_a_database_is_sound_and_shows_its_rows_before_and_after_a_start(program, folder, tmp_path):
    data = copied(folder, tmp_path / "data")
    for _ in range(2):  # The first opens what a kill left, the second what this program wrote.
        done(program, "verify", data)
        assert rows(program, data, "SELECT * FROM main.items ORDER BY number") == items(AT_END)
        assert rows(program, data, "SELECT number, quantity FROM main.late ORDER BY number") == [
            {"number": 1, "quantity": 6}, {"number": 2, "quantity": 6}]
        assert counts(program, data, ["main.events", "trading.orders", "otel.traces", "otel.logs"]) == {
            "main.events": 12, "trading.orders": 2, "otel.traces": 6, "otel.logs": 6}
        added = rows(program, data, "SELECT count(*) AS n FROM main.events WHERE added = 7 AND time IS NOT NULL")
        assert added[0]["n"] >= 6, "rows from before the column was added have its default"
        names = {row["name"] for row in rows(program, data, "SELECT table_name AS name FROM information_schema.tables")}
        assert "gone" not in names


@pytest.mark.parametrize("folder", BACKUPS, ids=lambda path: path.name)
def test_a_backup_is_sound_and_becomes_a_database(program, folder, tmp_path):
    backup, data = copied(folder, tmp_path / "backup"), tmp_path / "data"
    done(program, "snapshot", "verify", "golden", "--data", backup)
    done(program, "restore", "--data", backup, "--to", data)
    done(program, "verify", data)
    assert rows(program, data, "SELECT * FROM main.items ORDER BY number") == items(AT_SNAPSHOT)
    assert counts(program, data, ["main.events", "main.gone", "otel.traces"]) == {"main.events": 10, "main.gone": 0, "otel.traces": 5}
