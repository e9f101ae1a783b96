"""Runs `sheaf forward` as the tests run `sheaf serve`."""

import queue
import re
import subprocess
import threading

from sheaf_server import Server


class Forwarder(Server):
    """`data` is the folder of its queue."""

    def __init__(self, program, queue_folder, log_path, targets, arguments=()):
        super().__init__(program, queue_folder, log_path, arguments=arguments)
        self.targets = targets
        self.figures = []

    def start(self, wait=True):
        flags = [flag for target in self.targets for flag in ("--to", target)]
        for name in ("otlp-grpc", "otlp-http", "http"):
            flags += [f"--port-{name}", self.ports.get(name, "127.0.0.1:0").rsplit(":", 1)[1]]
        command = [str(self.program.path), "forward", "--queue", str(self.data), "--json", *flags, *map(str, self.arguments)]
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
                                        env=self.program.environment)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True).start()
        if wait:
            self.wait_ready()
        return self

    def last_lines(self):
        """What it printed after `ready`, once it has ended."""
        return list(iter(self.lines.get, None))

    def rows_sent_again(self):
        """Of all lives: rows that went out once more after their answer was lost. Said before they are sent."""
        text = self.log_path.read_text(errors="replace")
        return sum(int(rows) for rows in re.findall(r"event=export\.sent_again .*?rows=(\d+)", text))
