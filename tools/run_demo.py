#!/usr/bin/env python3
"""Starts `sheaf serve` with the demo feeding it, prints the addresses and three things to try.

  run_demo.py PROGRAM [ARGS for serve…]

Stops both on Ctrl-C or SIGTERM; the server drains and flushes, and its exit status is ours.
"""

import signal
import subprocess
import sys
import threading

GUIDE = """
Sheaf is running with a demo's worth of data; more arrives all the time. Stop it with Ctrl-C. Try:

  {program} sql --url http://{http} "SELECT service_name, count(*) FROM traces GROUP BY ALL ORDER BY 2 DESC"
  {program} sql --url http://{http} "SELECT time, service_name, severity_text, body FROM logs ORDER BY time DESC LIMIT 5"
  curl -s http://{http}/v1/sql -d "SELECT trace_id, name, duration_ns FROM traces WHERE status_code = 'ERROR' LIMIT 3"

OpenTelemetry exporters send to {grpc} (gRPC) or http://{otlp} (HTTP).
"""


def stop(signum, frame):
    raise KeyboardInterrupt


def pass_on(stream, ready, ports):
    """Shows what the server prints, and takes the ports from it."""
    for line in stream:
        sys.stdout.write(line)
        sys.stdout.flush()
        words = line.split()
        if len(words) >= 2 and ":" in words[-1]:
            ports[words[0].rstrip(":")] = words[-1].split("//")[-1].rstrip("/")
        if words == ["ready"]:
            ready.set()
    ready.set()


def main():
    program, arguments = sys.argv[1], sys.argv[2:]
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGINT too: a shell starts what runs behind it with SIGINT ignored.
        signal.signal(number, stop)
    server = subprocess.Popen([program, "serve", *arguments], stdout=subprocess.PIPE, text=True, start_new_session=True)
    demo, ready, ports = None, threading.Event(), {}
    threading.Thread(target=pass_on, args=(server.stdout, ready, ports), daemon=True).start()
    try:
        ready.wait()
        if "http" in ports:
            first = [program, "demo", "--url", f"http://{ports['otlp-http']}"]
            subprocess.run([*first, "--rate", "0", "--duration", "3", "--quiet"], start_new_session=True, check=False)
            demo = subprocess.Popen([*first, "--rate", "500", "--seed", "2", "--quiet"], start_new_session=True)
            print(GUIDE.format(program=program, http=ports["http"], grpc=ports["otlp-grpc"], otlp=ports["otlp-http"]), flush=True)
        server.wait()
    except KeyboardInterrupt:
        print("\nstopping", flush=True)
    finally:
        for process in (demo, server):
            if process is not None and process.poll() is None:
                process.terminate()
                try:
                    process.wait(timeout=30)
                except subprocess.TimeoutExpired:
                    process.kill()
    sys.exit(server.returncode)


main()
