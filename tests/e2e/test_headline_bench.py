"""The headline benchmark in small: every contender of C++ and Go does its work, and all sides read the same values. Its figures from
a program with sanitizers mean nothing and are not looked at, but for sizes, which are the same in any build."""

import json
import pathlib
import subprocess
import sys

import pytest

BENCH = pathlib.Path(__file__).resolve().parent.parent.parent / "bench" / "headline"


@pytest.mark.timeout(900)
def test_every_contender_runs_and_all_read_the_same_values(program):
    small = {"SHEAF_BENCH_SPANS": "2000", "SHEAF_BENCH_THREADS": "1,2", "SHEAF_BENCH_PARTS": "codec,sizes"}
    done = subprocess.run([sys.executable, BENCH / "run.py", program.path.parent.parent, "1"], env={**program.environment, **small},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    workloads = json.loads(done.stdout)["workloads"]
    assert set(workloads) == {"source", "realistic"}
    for sized in workloads.values():
        for threads in ("threads 1", "threads 2"):
            assert all(one["median"] > 0 for one in sized["2000"][threads]["contenders"].values())
            rows = {row["row"] for row in sized["2000"][threads]["table"]}
            assert rows == {"a write", "a read", "a2 rows", "a2 values", "b table", "c otap"}
        bytes_a_span = sized["2000"]["sizes"]["bytes_a_span"]
        random = sized["2000"]["sizes"]["random_bytes_a_span"]
        assert all(size >= random for name, size in bytes_a_span.items() if name != "cold_index")
        assert bytes_a_span["cold_part"] < bytes_a_span["log_entry"]
        assert all(row["reason"] for row in sized["2000"]["sizes"]["table"] if not row["met"])


def test_a_contender_that_does_not_exist_is_named(program, tmp_path):
    codec = program.path.parent / "headline_codec"
    done = subprocess.run([codec, "source", "1000", "1", tmp_path], input="objects_to_bytes\nnothing\nexit\n", stdout=subprocess.PIPE,
                          text=True, env=program.environment)
    ready, first, second = map(json.loads, done.stdout.splitlines())
    assert done.returncode == 0 and ready == {"ready": True} and first["ns"] > 0
    assert second == {"error": "no contender 'nothing'"}
    assert subprocess.run([codec, "source", "999", "1", tmp_path], stderr=subprocess.DEVNULL).returncode == 2
