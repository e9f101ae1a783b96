"""The second client of the kill loop: writes rows of a keyed table, makes and drops tables and snapshots, for as long as it is
let. Arguments: address of the SQL port, file of acknowledgements, seed.

Row `id` is written with the values 1, 2, 3 …, each in a statement of its own with some other rows; a line "id value" is written
down, synced, before it is sent ("? id value") and when it is acknowledged ("! id value"). So afterwards a row must have a
value from its last acknowledged one through its last sent one. DELETE counts as a value: it is written as -value.
"""

import os
import random
import sys
import time

import requests

KEYS = 40


class Client:
    def __init__(self, address, path, seed):
        self.address, self.chance = address, random.Random(f"sql/{seed}")
        self.file = open(path, "a")
        self.session = requests.Session()
        self.values = {}

    def note(self, sign, changes):
        self.file.writelines(f"{sign} {key} {value}\n" for key, value in changes)
        self.file.flush()
        os.fsync(self.file.fileno())

    def ask(self, text):
        """True where it was acknowledged; False where the outcome is open."""
        try:
            answer = self.session.post(f"http://{self.address}/v1/sql", data=text.encode(), timeout=20)
        except requests.RequestException:
            time.sleep(0.05)
            return False
        assert answer.status_code < 500 or answer.status_code in (503, 504), f"{answer.status_code} {answer.text[:500]} for {text}"
        return answer.status_code == 200

    def write(self):
        keys = self.chance.sample(range(KEYS), self.chance.choice((1, 3, 10)))
        delete = self.chance.random() < 0.2
        changes = []
        for key in keys:
            self.values[key] = abs(self.values.get(key, 0)) + 1
            changes.append((key, -self.values[key] if delete else self.values[key]))
        self.note("?", changes)
        if delete:
            done = self.ask(f"DELETE FROM main.kept WHERE id IN ({', '.join(map(str, keys))})")
        else:
            rows = ", ".join(f"({key}, {value}, repeat('x', 200))" for key, value in changes)
            done = self.ask(f"INSERT OR REPLACE INTO main.kept VALUES {rows}")
        if done:
            self.note("!", changes)

    def run(self):
        for step in range(1 << 60):
            if not self.ask("CREATE TABLE IF NOT EXISTS main.kept (id BIGINT PRIMARY KEY, value BIGINT, filler VARCHAR)"):
                continue
            for _ in range(6):
                self.write()
            name = f"main.passing_{step % 2}"
            self.ask(f"DROP TABLE IF EXISTS {name}")
            self.ask(f"CREATE TABLE {name} (id BIGINT)")
            self.ask(f"INSERT INTO {name} VALUES ({step})")
            if step % 4 == 0:
                try:
                    self.session.post(f"http://{self.address}/v1/snapshots", timeout=20)
                except requests.RequestException:
                    time.sleep(0.05)


Client(sys.argv[1], sys.argv[2], sys.argv[3]).run()
