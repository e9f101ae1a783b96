#!/usr/bin/env python3
"""Fails when an #include goes against src/LAYERS, or a module's CMake dependencies do.

  check_layers.py src

A module includes itself and the modules its line names, which stand above it. An outside library that
some line names belongs to the modules that name it. Test files may also use what tests use.
"""

import pathlib
import re
import sys

SRC = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "src")
# First components of include paths that belong to a library named in LAYERS.
OWNERS = {
    "arrow": None, "parquet": "parquet", "duckdb": "duckdb", "duckdb.hpp": "duckdb", "duckdb.h": "duckdb",
    "nghttp2": "nghttp2", "boost": "boost", "openssl": "openssl", "zstd.h": "zstd", "zlib.h": "zlib",
    "simdjson.h": "simdjson", "nlohmann": "nlohmann", "toml++": "toml", "prometheus": "prometheus",
    "spdlog": "spdlog", "xxhash.h": "xxhash", "linux": "linux", "sys": "sys", "fcntl.h": "fcntl",
    "unistd.h": "unistd", "histedit.h": "edit", "CLI": "cli11", "roaring": "roaring",
    "hwy": "hwy", "argon2.h": "argon2",
}


def read_layers():
    modules, libraries = {}, {}
    for number, line in enumerate((SRC / "LAYERS").read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        rule, _, outside = line.partition("|")
        name, _, below = rule.partition(":")
        named = set(below.split())
        upward = named - modules.keys()
        if upward:
            sys.exit(f"{SRC}/LAYERS:{number}: {name} names {', '.join(sorted(upward))}, which does not stand above it")
        modules[name], libraries[name] = named, set(outside.split())
    return modules, libraries


def is_test(path):
    return re.search(r"(_test|_fuzz|_bench|[/_]testing)\.(cc|h)$", "/" + path.name) is not None


def check_includes(modules, libraries):
    managed = set().union(*libraries.values())
    for path in sorted(p for p in SRC.rglob("*") if p.suffix in (".h", ".cc")):
        module = path.relative_to(SRC).parts[0]
        if module not in modules:
            yield f"{path}: the module '{module}' has no line in {SRC}/LAYERS"
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            include = re.match(r'\s*#\s*include\s+([<"])([^>"]+)[>"]', line)
            if not include:
                continue
            first = include[2].split("/")[0]
            if include[1] == '"' and first in modules:
                if first != module and first not in modules[module]:
                    yield f"{path}:{number}: {module} may not include {first}; see src/LAYERS"
                continue
            library = OWNERS.get(first)
            if library in managed and library not in libraries[module] and not is_test(path):
                yield f"{path}:{number}: {module} may not use {library}; see src/LAYERS"


def check_cmake(modules):
    for module, allowed in modules.items():
        path = SRC / module / "CMakeLists.txt"
        if not path.exists():
            continue
        call = re.search(rf"sheaf_module\(\s*{module}\b(.*?)\)", path.read_text(), re.S)
        if not call:
            yield f"{path}: no sheaf_module({module} …)"
            continue
        dependencies = re.search(r"\bDEPS\s+([a-z\s]*)", call[1])
        extra = set(dependencies[1].split()) - allowed if dependencies else set()
        if extra:
            yield f"{path}: depends on {', '.join(sorted(extra))} against src/LAYERS"


def main():
    modules, libraries = read_layers()
    errors = [*check_includes(modules, libraries), *check_cmake(modules)]
    print(*errors, sep="\n", end="\n" if errors else "")
    if errors:
        sys.exit(f"{len(errors)} layer errors")
    print(f"layers: {len(modules)} modules hold")


main()
