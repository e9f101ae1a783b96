#!/usr/bin/env python3
"""Installs what the build needs and is missing: Debian packages, Arrow, DuckDB, test peers.

Everything lands in one cache outside the clone (SHEAF_CACHE, default ~/.cache/sheaf), under a
folder named by the hash of the versions below, so that clones share it and an upgrade never mixes.
Only the package managers' own commands fetch anything; what they bring is checked by SHA-256.

  setup.py build        what compiling needs: apt packages, Arrow (pyarrow wheel), DuckDB
  setup.py test         the above, and the Python environment, Go programs and Node.js packages that the tests run as peers
  setup.py bench        the above, and the libraries that the benchmarks are held against
  setup.py coverage     what the tests need, and what counts their coverage
  setup.py print        prints the folder of the dependencies; installs nothing, like those below
  setup.py print-arrow  prints the folder of Arrow's libraries
  setup.py print-peers  prints the folder of the tests' peers
  setup.py print-bench  prints the folder of the benchmarks' Python environment
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
LOCK = json.loads((ROOT / "tools" / "dependencies.json").read_text())
CACHE = pathlib.Path(os.environ.get("SHEAF_CACHE") or pathlib.Path.home() / ".cache" / "sheaf")
KEY = hashlib.sha256(json.dumps(LOCK["build"], sort_keys=True).encode()).hexdigest()[:12]
PREFIX = CACHE / f"deps-{KEY}"
HIDE = ROOT / "tools" / "hide_foreign_symbols.py"
ARROW_LIBRARIES = PREFIX / f"arrow-lib-{hashlib.sha256(HIDE.read_bytes()).hexdigest()[:12]}"
TEST_KEY = hashlib.sha256(json.dumps(LOCK["test"], sort_keys=True).encode()).hexdigest()[:12]
PEERS = CACHE / f"peers-{TEST_KEY}"
BENCH_KEY = hashlib.sha256(json.dumps(LOCK["bench"]["python"]).encode()).hexdigest()[:12]
BENCH_PEERS = CACHE / f"bench-{BENCH_KEY}"


def say(text):
    print(f"setup: {text}", flush=True)


def fail(text):
    sys.exit(f"setup: {text}")


def run(*command, cwd=None, env=None):
    """Runs a command quietly; on failure shows its output and stops."""
    done = subprocess.run(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        sys.stdout.write(done.stdout.decode(errors="replace")[-4000:])
        fail(f"'{' '.join(map(str, command))}' failed with exit status {done.returncode}")
    return done.stdout.decode(errors="replace")


def check_digest(path, want):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != want:
        fail(f"{path.name} has SHA-256 {digest}, expected {want}; delete it and try again")


def need(program, hint):
    if shutil.which(program) is None:
        fail(f"'{program}' is missing; {hint}")


def missing_packages(names):
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f=${Package} ${db:Status-Abbrev}\n", *names],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    present = {line.split()[0] for line in listed.splitlines() if line.split()[1:] == ["ii"]}
    return [name for name in names if name not in present]


def install_packages(names):
    """Installs Debian packages, as root or through sudo; says what to run where neither is possible."""
    need("dpkg-query", "Sheaf builds on Debian 12 and its kin")
    missing = missing_packages(names)
    if not missing:
        return
    say(f"installing {len(missing)} Debian packages: {' '.join(missing)}")
    sudo = []
    if os.geteuid() != 0:
        if shutil.which("sudo") is None or subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL).returncode:
            fail(f"run this as root, then try again:\n  apt-get update && apt-get install -y {' '.join(missing)}")
        sudo = ["sudo", "-n"]
    run(*sudo, "apt-get", "update")
    run(*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends", *missing)


def install_optional_packages(names):
    """The same, for what the program works without: goes on where they cannot be installed."""
    try:
        install_packages(names)
    except (SystemExit, subprocess.CalledProcessError):
        say(f"going on without {' '.join(missing_packages(names))}: statements take about a tenth longer")


def once(folder, make):
    """Runs make(temporary folder) and moves the result to `folder`, unless `folder` is there already."""
    if folder.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = pathlib.Path(scratch) / "made"
        made.mkdir()
        make(made, pathlib.Path(scratch))
        try:
            made.rename(folder)
        except OSError:  # Another clone finished first; its copy is as good.
            if not folder.exists():
                raise


def make_arrow(made, scratch):
    pin = LOCK["build"]["arrow"]
    say(f"Arrow C++ {pin['version']} from the pyarrow wheel")
    run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        "--python-version", "3.11", "--dest", scratch, f"pyarrow=={pin['version']}")
    wheel = next(scratch.glob("pyarrow-*.whl"))
    check_digest(wheel, pin["sha256"])
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch / "wheel")
    shutil.copytree(scratch / "wheel" / "pyarrow" / "include", made / "include")
    (made / "lib").mkdir()
    for library in (scratch / "wheel" / "pyarrow").glob("lib*.so.*"):
        shutil.copy(library, made / "lib")
    (made / "version").write_text(pin["version"])


def make_arrow_libraries(made, _):
    """The wheel's libraries as the program uses them: made anew when the script changes, without a download."""
    run(sys.executable, HIDE, PREFIX / "arrow" / "lib", made)
    for library in list(made.glob("lib*.so.*")):
        (made / f"{library.name.split('.so')[0]}.so").symlink_to(library.name)


def make_duckdb(made, scratch):
    pin = LOCK["build"]["duckdb"]
    say(f"DuckDB {pin['version']}: library from npm, headers from crates.io")
    need("npm", "install Node.js with npm")
    need("cargo", "install Rust with cargo")
    run("npm", "pack", "--silent", pin["npm"], cwd=scratch)
    package = next(scratch.glob("duckdb-*.tgz"))
    check_digest(package, pin["npm_sha256"])
    with tarfile.open(package) as archive:
        archive.extractall(scratch / "npm")
    (made / "lib").mkdir()
    shutil.copy(scratch / "npm" / "package" / "libduckdb.so", made / "lib" / "libduckdb.so")
    vendor_crate(scratch, "libduckdb-sys", pin["crate"])
    bundle = scratch / "vendor" / "libduckdb-sys" / "duckdb.tar.gz"
    check_digest(bundle, pin["headers_sha256"])
    with tarfile.open(bundle) as archive:
        headers = [m for m in archive if m.name.startswith("duckdb/src/include/")]
        archive.extractall(scratch / "src", headers)
    shutil.copytree(scratch / "src" / "duckdb" / "src" / "include", made / "include")


def vendor_crate(scratch, name, version):
    (scratch / "src").mkdir(exist_ok=True)
    (scratch / "src" / "lib.rs").touch()
    (scratch / "Cargo.toml").write_text(
        f'[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n'
        f'[dependencies]\n{name} = {{ version = "={version}", default-features = false }}\n')
    run("cargo", "vendor", "--quiet", "vendor", cwd=scratch)


def make_protos(made, scratch):
    pin = LOCK["build"]["otlp_proto"]
    say(f"OTLP .proto files from the crate opentelemetry-proto {pin['version']} (tests and benchmarks only)")
    vendor_crate(scratch, "opentelemetry-proto", pin["version"])
    tree = scratch / "vendor" / "opentelemetry-proto" / "src" / "proto" / "opentelemetry-proto"
    digest = hashlib.sha256()
    for path in sorted(tree.rglob("*.proto")):
        digest.update(path.read_bytes())
    if digest.hexdigest() != pin["sha256"]:
        fail(f"the OTLP .proto files have digest {digest.hexdigest()}, expected {pin['sha256']}")
    shutil.copytree(tree / "opentelemetry", made / "opentelemetry")


def make_venv(venv, packages):
    """A virtual environment holds its own path, so it is made in place and marked when it is whole."""
    if (venv / "whole").exists():
        return
    shutil.rmtree(venv, ignore_errors=True)
    venv.mkdir(parents=True)
    say(f"Python environment of {len(packages)} packages")
    run(sys.executable, "-m", "venv", venv)
    run(venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages)
    run(venv / "bin" / "python", "-m", "pip", "check", "--disable-pip-version-check")
    (venv / "whole").touch()


def make_go_program(package):
    def make(made, scratch):
        need("go", "install Go")
        say(f"{package} (test peer)")
        run("go", "install", package, env={**os.environ, "GOBIN": str(made), "GOFLAGS": "-mod=mod"}, cwd=scratch)
    return make


def make_node_packages(made, _):
    need("npm", "install Node.js with npm")
    say(f"{' '.join(LOCK['test']['npm'])} for Node.js (test peers)")
    run("npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", made, *LOCK["test"]["npm"])


def setup_build():
    # Apart from "build", whose hash names the cache: what is there need not be fetched anew for a package more.
    install_packages([*LOCK["build"]["apt"], *LOCK["access"]["apt"]])
    install_optional_packages(LOCK["optional"]["apt"])
    once(PREFIX / "arrow", make_arrow)
    once(ARROW_LIBRARIES, make_arrow_libraries)
    once(PREFIX / "duckdb", make_duckdb)
    once(PREFIX / "proto", make_protos)


def setup_test():
    install_packages(LOCK["test"]["apt"])
    make_venv(PEERS / "venv", LOCK["test"]["python"])
    for package in LOCK["test"]["go"]:
        once(PEERS / "go" / package.split("@")[0].split("/")[-1], make_go_program(package))
    once(PEERS / "node", make_node_packages)


def setup_bench():
    install_packages(LOCK["bench"]["apt"])
    make_venv(BENCH_PEERS / "venv", LOCK["bench"]["python"])


def setup_coverage():
    install_packages(LOCK["coverage"]["apt"])


def main():
    verb = sys.argv[1] if len(sys.argv) == 2 else ""
    if verb == "print":
        print(PREFIX)
    elif verb == "print-arrow":
        print(ARROW_LIBRARIES)
    elif verb == "print-peers":
        print(PEERS)
    elif verb == "print-bench":
        print(BENCH_PEERS)
    elif verb == "build":
        setup_build()
    elif verb == "test":
        setup_build()
        setup_test()
    elif verb == "bench":
        setup_build()
        setup_test()
        setup_bench()
    elif verb == "coverage":
        setup_build()
        setup_test()
        setup_coverage()
    else:
        sys.exit(__doc__)


main()
