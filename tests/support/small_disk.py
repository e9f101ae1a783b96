"""A small disk of its own: a tmpfs in a mount namespace, which lives as long as this object and needs no rights on the machine."""

import contextlib
import os
import pathlib
import subprocess

HOLD = 'mount -t tmpfs -o size="$1" small "$0" && mkdir "$0/data" && echo mounted && exec cat'


class SmallDisk:
    """`wrapper` puts a program into the namespace, where the disk is at `folder`; from outside it is at `outside`."""

    def __init__(self, folder, size_bytes):
        folder.mkdir()
        self.holder = subprocess.Popen(["unshare", "--map-root-user", "--mount", "sh", "-c", HOLD, str(folder), str(size_bytes)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "mounted\n":
            raise AssertionError(f"no mount namespace: {self.holder.communicate()[1]} (user namespaces must be allowed)")
        self.wrapper = ["nsenter", f"--target={self.holder.pid}", "--user", "--mount", "--preserve-credentials", "--"]
        self.data = folder / "data"
        self.outside = pathlib.Path(f"/proc/{self.holder.pid}/root{folder}")
        self.ballast = self.outside / "ballast"

    def free_bytes(self):
        space = os.statvfs(self.outside)
        return space.f_bavail * space.f_frsize

    def leave(self, free_bytes):
        """Takes room away until so much is left."""
        with open(self.ballast, "ab") as file:
            while (more := self.free_bytes() - free_bytes) > 0:
                with contextlib.suppress(OSError):  # Somebody was faster.
                    os.posix_fallocate(file.fileno(), 0, os.fstat(file.fileno()).st_size + more)

    def give_back(self):
        self.ballast.unlink(missing_ok=True)

    def close(self):
        self.holder.stdin.close()  # The namespace and its disk end with its last process.
        self.holder.wait(timeout=30)
        self.holder.stdout.close()
        self.holder.stderr.close()
