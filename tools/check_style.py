#!/usr/bin/env python3
"""The style guide as a check: what CONTRIBUTING.md asks for and a machine can see.

Every rule names its reason. A line may carry `NOLINT: reason` to be left alone; there should be few.
"""

import pathlib
import re
import subprocess
import sys

import function_lengths

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINE_COLUMNS_MAX = 140
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 100
FUNCTION_LINES_WISH = 70  # Longer ones are listed, and allowed where a table or one long switch reads best in one piece.
README_LINES_MAX = 60
BLOB_BYTES_MAX = 2 << 20
BAD_NAMES = re.compile(r"(^|_)(utils?|common|manager|helpers?|impl|misc)(_|$)")

BANNED = [
    (re.compile(r"\b(TODO|FIXME|XXX)\b"), "finish it or say so in the issue", {".cc", ".h", ".py", ".md"}),
    (re.compile(r"\bstd::this_thread::sleep_(for|until)\b"), "wait on a condition or an injected clock", {".cc", ".h"}),
    (re.compile(r"\bGTEST_SKIP\b|pytest\.skip|pytest\.mark\.skip|importorskip"), "a missing component fails the test", {".cc", ".py"}),
    (re.compile(r"\bassert\("), "SHEAF_CHECK is on in release too", {".cc", ".h"}),
    (re.compile(r"\busing namespace std;"), "names say where they come from", {".cc", ".h"}),
    (re.compile(r"(?<![\w:.>])(?:::)?(open|openat|fopen|creat|rename|unlink|fsync|fdatasync|mkdir|mmap|ftruncate)\("),
     "only io talks to the file system", {".cc", ".h"}),
    (re.compile(r"\bstd::(ofstream|ifstream|fstream)\b|\bstd::filesystem\b"), "only io talks to the file system", {".cc", ".h"}),
    (re.compile(r"\b(pkill|killall)\b"), "never end processes by name", {".py", ".sh", ""}),
]
FILE_DOORS = ("src/io/", "apps/", "tests/", "bench/")  # Programs and tests may read their own inputs.


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    return [name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def check_names(name):
    path = pathlib.PurePosixPath(name)
    if path.suffix in (".h", ".cc", ".py"):
        if BAD_NAMES.search(path.stem):
            yield f"{name}: name the concept, not '{path.stem}'"
        if path.suffix != ".py" and not re.fullmatch(r"[a-z0-9_]+", path.stem):
            yield f"{name}: file names are snake_case"


def check_text(name, lines):
    suffix = pathlib.PurePosixPath(name).suffix
    for number, line in enumerate(lines, 1):
        if "NOLINT" in line or name == "tools/check_style.py":
            continue
        if suffix in (".cc", ".h", ".py") and len(line) > LINE_COLUMNS_MAX:
            yield f"{name}:{number}: {len(line)} columns; at most {LINE_COLUMNS_MAX}"
        if line != line.rstrip() and suffix != ".md":
            yield f"{name}:{number}: space at the end of the line"
        code = re.sub(r'"(?:[^"\\]|\\.)*"', '""', line) if suffix in (".cc", ".h") else line
        code = re.sub(r"//.*", "", code) if suffix in (".cc", ".h") and "TODO" not in line and "FIXME" not in line else code
        for pattern, why, suffixes in BANNED:
            if suffix not in suffixes or not pattern.search(code):
                continue
            if "file system" in why and (name.startswith(FILE_DOORS) or re.search(r"(_test|_fuzz|_bench|testing)\.", name)):
                continue
            if "condition" in why and name.startswith("tests/"):
                continue
            yield f"{name}:{number}: '{pattern.search(code)[0]}': {why}"


def check_shape(name, lines):
    suffix = pathlib.PurePosixPath(name).suffix
    if suffix in (".h", ".cc") and len(lines) > FILE_LINES_MAX:
        yield f"{name}: {len(lines)} lines; at most {FILE_LINES_MAX}, and around 100 to 300 read best: split it by concept"
    if suffix == ".h" and "#pragma once" not in lines:
        yield f"{name}: no #pragma once"
    if suffix == ".h" and lines and not lines[0].startswith(("///", "//")):
        yield f"{name}: begin with what it is for and when to use it"
    if re.fullmatch(r"src/\w+/README\.md", name) and len(lines) > README_LINES_MAX:
        yield f"{name}: {len(lines)} lines; at most {README_LINES_MAX}"


def long_functions(name, text):
    """(lines, what to print) of each function that is longer than we like."""
    for function, first, lines in function_lengths.functions(pathlib.PurePosixPath(name).suffix, text):
        if lines > FUNCTION_LINES_WISH:
            yield lines, f"{name}:{first}: {function} has {lines} lines"


def planned_commands():
    """Matches a text that sends the user to a command of the program that is only planned."""
    planned = re.findall(r'^ *\{"(\w+)", "', (ROOT / "apps/sheaf/planned.cc").read_text(), re.M)
    return re.compile(rf"sheaf ({'|'.join(planned)})\b")


def check_houses(names):
    modules = {name.split("/")[1] for name in names if re.match(r"src/\w+/", name)}
    for module in sorted(modules):
        if f"src/{module}/README.md" not in names:
            yield f"src/{module}: no README.md"
    formats = {name for name in names if name.startswith("docs/formats/")}
    for wanted in ("wal", "part", "manifest", "log_payload"):
        if f"docs/formats/{wanted}.md" not in formats:
            yield f"docs/formats/{wanted}.md is missing"


def main():
    names = tracked()
    errors, long = list(check_houses(set(names))), []
    planned = planned_commands()
    for name in names:
        path = ROOT / name
        if path.stat().st_size > BLOB_BYTES_MAX:
            errors.append(f"{name}: {path.stat().st_size} bytes; large files do not belong here")
        if pathlib.PurePosixPath(name).suffix not in (".h", ".cc", ".py", ".md", ".cmake", ".sh", ".txt", ""):
            continue
        try:
            lines = path.read_text().split("\n")
        except UnicodeDecodeError:
            continue
        if lines and lines[-1] == "":
            lines.pop()
        if name.startswith(("tests/golden/",)) or "/corpus/" in name or name == "LICENSE":
            continue
        errors += [*check_names(name), *check_text(name, lines), *check_shape(name, lines)]
        if name.startswith(("src/", "apps/", "docs/", "README")):
            errors += [f"{name}:{i}: names `{m[0]}`, which is not there yet" for i, line in enumerate(lines, 1) if (m := planned.search(line))]
        if name.endswith((".h", ".cc", ".py")):
            long += long_functions(name, "\n".join(lines) + "\n")
    errors += [f"{text}; at most {FUNCTION_LINES_MAX}" for lines, text in long if lines > FUNCTION_LINES_MAX]
    for lines, text in sorted(long, reverse=True):
        if lines <= FUNCTION_LINES_MAX:
            print(f"{text}; aim for {FUNCTION_LINES_WISH}")
    print(*errors, sep="\n", end="\n" if errors else "")
    if errors:
        sys.exit(f"{len(errors)} style errors")
    print(f"style: {len(names)} files hold")


main()
