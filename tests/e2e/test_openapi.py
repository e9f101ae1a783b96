"""The HTTP API against its own description: what schemathesis makes of GET /v1/openapi.json is sent to the program, and every answer
must be as described: code, content type, headers, schema; no 5xx; wrong methods and malformed requests refused.

SHEAF_SEED replays a run, SHEAF_OPENAPI_EXAMPLES sets how many requests each operation gets at most."""

import os
import pathlib
import random
import subprocess

import jsonschema_rs

SUPPORT = pathlib.Path(__file__).resolve().parents[1] / "support"


def document(server):
    answer = server.session.get(server.url(path="/v1/openapi.json"), timeout=30)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    return answer.json()


def test_the_description_names_the_program_and_only_what_is_there(server, program):
    api = document(server)
    version = program.run("version").stdout
    assert api["info"]["version"] in version, version
    for path, operations in api["paths"].items():
        if "get" in operations and "{" not in path:
            assert server.session.get(server.url(path=path), timeout=30).status_code == 200, path


def test_every_answer_is_as_described(server, peers, tmp_path):
    server.rows("CREATE TABLE t (k BIGINT PRIMARY KEY, v VARCHAR)")
    server.rows("INSERT INTO t VALUES (1, 'one')")
    seed = int(os.environ.get("SHEAF_SEED") or random.SystemRandom().randrange(2**32))
    examples = os.environ.get("SHEAF_OPENAPI_EXAMPLES", "10")
    print(f"SHEAF_SEED={seed}")
    command = [str(peers / "venv" / "bin" / "st"), "--config-file", str(SUPPORT / "schemathesis.toml"), "run",
               server.url(path="/v1/openapi.json"), "--checks", "all", "--seed", str(seed), "--max-examples", examples, "--no-shrink",
               "--output-sanitize", "false",
               "--phases", "examples,coverage,fuzzing"]
    environment = {**os.environ, "SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(SUPPORT), "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=200)
    assert done.returncode == 0, f"SHEAF_SEED={seed}: {done.stdout[-20000:]}"
    assert server.rows("SELECT v FROM t WHERE k = 1"), "the table is gone"


def test_the_description_is_a_valid_one(server):
    """Every $ref leads somewhere, and every schema is one."""
    api = document(server)

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                target = api
                for step in node["$ref"].removeprefix("#/").split("/"):
                    target = target[step]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(api)
    for name, schema in api["components"]["schemas"].items():
        jsonschema_rs.validator_for({**schema, "components": api["components"]}), name
