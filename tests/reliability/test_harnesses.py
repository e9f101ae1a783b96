"""The harnesses that look at very many states, in the optimised build: two programs at a time. SHEAF_CRASH_IMAGES is the number of
different crash images of each of the six stories, SHEAF_FLIPS that of flipped bits.
"""

import concurrent.futures
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
STORIES = ("Ingest", "Seals", "Merges", "Definitions", "Snapshots", "Drops")
CRASH_IMAGES, FLIPS = os.environ.get("SHEAF_CRASH_IMAGES", "1700"), os.environ.get("SHEAF_FLIPS", "2000")
HOURS = 12


def run(programs, tests, environment):
    done = subprocess.run([programs / "store_test", f"--gtest_filter={tests}"], cwd=ROOT, env={**os.environ, **environment},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=HOURS * 3600)
    assert done.returncode == 0, f"{tests} ended with {done.returncode}:\n{done.stdout[-6000:]}"
    return done.stdout


@pytest.mark.timeout(HOURS * 3600)
def test_every_disk_that_a_power_cut_may_leave(programs):
    environment = {"SHEAF_CRASH_IMAGES": CRASH_IMAGES}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(lambda story: run(programs, f"Store/CrashImagesOf.*/{story}", environment), STORIES))
    lines = [re.search(r"^\w+: \d+ images looked at, (\d+) different.*$", output, re.MULTILINE) for output in outputs]
    for line in lines:
        print(line[0])
    assert sum(int(line[1]) for line in lines) >= len(STORIES) * int(CRASH_IMAGES)


@pytest.mark.timeout(HOURS * 3600)
def test_whatever_bit_flips_is_told_and_never_answered(programs):
    output = run(programs, "BitFlip.*", {"SHEAF_FLIPS": FLIPS})
    print(re.search(r"^\d+ bits flipped.*$", output, re.MULTILINE)[0])
