"""The harnesses are alive: each of eight faults that were put into the code on purpose (core/test_hooks.h, Mutant) makes one of
them fail. A harness that passes with its mutant proves nothing.
"""

import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# Fault, the program and the tests that must catch it.
MUTANTS = [
    ("no_sync_before_answer", "store_test", "Store/CrashImagesOf.*/Ingest"),
    ("no_folder_sync", "store_test", "Store/CrashImagesOf.*/Seals"),
    ("manifest_before_parts", "store_test", "Store/CrashImagesOf.*/Seals"),
    ("delete_vector_lost", "store_test", "Store/CrashImagesOf.*/Merges"),
    ("dedup_window_lost", "store_test", "Store/CrashImagesOf.*/Seals"),
    ("stale_snapshot_read", "store_test", "KeyedTable.*"),
    ("crc_not_checked", "wal_test", "EveryByte.*:*RecoveryDamage*"),
    ("tail_rule_wrong", "wal_test", "EveryByte.*:*RecoveryDamage*"),
]


def run(programs, program, tests, mutant):
    environment = {**os.environ, "SHEAF_MUTANT": mutant, "SHEAF_CRASH_IMAGES": "300", "SHEAF_CRASH_IMAGES_SEED": "7"}
    return subprocess.run([programs / program, f"--gtest_filter={tests}"], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600)


@pytest.mark.timeout(700)
@pytest.mark.parametrize("mutant,program_name,tests", MUTANTS, ids=[row[0] for row in MUTANTS])
def test_mutant_is_caught(programs, mutant, program_name, tests):
    done = run(programs, program_name, tests, mutant)
    failed = re.findall(r"\[  FAILED  \] (\S+)", done.stdout)
    print(f"{mutant}: caught by {failed[0] if failed else 'nobody'}")
    assert done.returncode == 1 and failed, f"{program_name} {tests} ended with {done.returncode}:\n{done.stdout[-3000:]}"


@pytest.mark.timeout(700)
@pytest.mark.parametrize("program_name,tests", sorted({row[1:] for row in MUTANTS}), ids=str)
def test_harness_passes_without_a_mutant(programs, program_name, tests):
    done = run(programs, program_name, tests, "")
    assert done.returncode == 0, done.stdout[-3000:]
    assert "PASSED" in done.stdout and "0 tests" not in done.stdout.splitlines()[-1]


def test_every_mutant_of_the_sources_is_here():
    names = set()
    for path in (ROOT / "src").rglob("*.cc"):
        names.update(re.findall(r'Mutant\("([a-z_]+)"\)', path.read_text()))
    assert names == {row[0] for row in MUTANTS}
