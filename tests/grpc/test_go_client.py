"""The transport against grpc-go, which Collectors use."""

import os
import pathlib
import subprocess

HERE = pathlib.Path(__file__).resolve().parent


def test_go_client_gets_the_answers_it_should(demo, tmp_path):
    program = tmp_path / "go_client"
    subprocess.run(["go", "build", "-o", program, "."], cwd=HERE / "go_client", check=True, timeout=200,
                   env={**os.environ, "GOFLAGS": "-mod=mod"})
    done = subprocess.run([program, demo.address("grpc")], stdout=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
