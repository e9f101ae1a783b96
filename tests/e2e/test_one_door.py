"""Under strace: whatever changes the data directory comes out of sheaf::io, and nothing else does.

strace prints the stack of each call (-k). For every call that opens for writing, writes, syncs, renames, removes or
makes something below the data directory, some frame of its stack must be in namespace sheaf::io. A library that wrote
there by itself, or a module that went around io, has none.
"""

import re
import shutil
import time

import otlp_samples

CALLS = ("open,openat,openat2,creat,write,writev,pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,fallocate,ftruncate,truncate,"
         "rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,link,linkat,symlink,symlinkat,copy_file_range,sendfile")
CALL = re.compile(r"^(\d+)\s+(\w+)\((.*)$")
RESUMED = re.compile(r"^(\d+)\s+<\.\.\. (\w+) resumed>(.*)$")
UNFINISHED = " <unfinished ...>"
FRAME = re.compile(r"^ > ")
READ_ONLY_OPEN = re.compile(r"O_RDONLY|O_PATH|O_DIRECTORY")


def calls_with_stacks(path):
    """(system call, its arguments, frames) of each call in strace's output. A call during which another thread's ended
    stands in two lines; its stack follows the second."""
    current, unfinished = None, {}
    with open(path, errors="replace") as lines:
        for line in lines:
            line = line.rstrip("\n")
            if FRAME.match(line):
                if current:
                    current[2].append(line.strip())
                continue
            if current:
                yield current
            current = None
            if match := RESUMED.match(line):
                current = (match[2], unfinished.pop(match[1], "") + match[3], [])
            elif match := CALL.match(line):
                if match[3].endswith(UNFINISHED):
                    unfinished[match[1]] = match[3].removesuffix(UNFINISHED)
                else:
                    current = (match[2], match[3], [])
    if current:
        yield current
    for arguments in unfinished.values():  # The process ended in the middle of it.
        yield "unfinished", arguments, []


def changes_directory(call, arguments, data):
    if data not in arguments:
        return False
    if call.startswith("open"):
        return not READ_ONLY_OPEN.search(arguments)
    return True


def test_only_io_touches_the_data_directory(make_server, tmp_path):
    assert shutil.which("strace"), "strace is missing: ./dev setup installs it"
    trace = tmp_path / "trace"
    server = make_server(wrapper=["strace", "-f", "-k", "-y", "-qq", "-s", "0", "-e", f"trace={CALLS}", "-e", "signal=none", "-o", trace],
                         environment={"SHEAF_STORAGE_SEAL_AGE_MS": "500", "SHEAF_STORAGE_COLD_AFTER_MS": "500"}).start()
    for _ in range(3):
        server.otlp_http("traces", otlp_samples.full_traces())
        server.otlp_grpc("logs", otlp_samples.full_logs())
        server.otlp_http("metrics", otlp_samples.full_metrics())
        time.sleep(0.7)  # Lets the server seal, write manifests and truncate its log.
    assert server.count("traces") == 3
    server.stop(seconds=60)
    data = str(server.data)
    seen, strangers = {}, []
    for call, arguments, frames in calls_with_stacks(trace):
        if not changes_directory(call, arguments, data):
            continue
        seen[call] = seen.get(call, 0) + 1
        if not any("sheaf::io::" in frame or "sheaf2io" in frame for frame in frames):
            strangers.append(f"{call}({arguments.strip()}\n" + "\n".join(frames))
    print(f"calls below the data directory: {seen}")
    assert not strangers, f"{len(strangers)} calls went around io:\n" + "\n\n".join(strangers[:5])
    # The harness can see what it looks for: a log was written and synced, a manifest renamed, a part made.
    assert seen.get("fdatasync", 0) >= 9 and any(seen.get(call) for call in ("rename", "renameat", "renameat2"))
    assert any(seen.get(call) for call in ("pwrite64", "pwritev", "pwritev2", "write", "writev"))
