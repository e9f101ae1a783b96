"""Processes that answer a line with a line, and what comes of asking them in turns."""

import json
import statistics
import subprocess


class Side:
    """One process; ready once it has printed its first line."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)
        self.ready = self.answer()

    def answer(self):
        said = json.loads(self.process.stdout.readline() or '{"error": "the process ended; its reason stands above"}')
        if "error" in said:
            raise SystemExit(f"{self.process.args[0]}: {said['error']}")
        return said

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def figures(values, digits=1):
    return {"median": round(statistics.median(values), digits), "min": round(min(values), digits), "max": round(max(values), digits)}
