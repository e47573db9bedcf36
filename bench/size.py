#!/usr/bin/env python3
"""What Isthmus's proxy weighs: binary, idle process and idle connections.

A start is that of a proxy from what it kept on disk: from the command to the first answer that came
through it. It needs no control plane; the others read their configuration files.

usage: bench/size.py [--connections N] [--starts N]
"""

import argparse
import json
import pathlib
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import isthmus_manifests
import proxies

REQUEST = b"GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=9000)
    parser.add_argument("--starts", type=int, default=10)
    args = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="isthmus-size-") as scratch:
        scratch = pathlib.Path(scratch)
        certificates = proxies.certificates(scratch)
        rows = {"binary, stripped (MB)": binary(scratch)}
        with proxies.backend(scratch):
            for scheme in ("http", "https"):
                directory = scratch / scheme
                directory.mkdir()
                with proxies.isthmus(directory, scheme, 1, certificates) as running:
                    idle, each = idle_connections(running, scheme, args.connections)
                    if scheme == "http":
                        kept = isthmus_manifests.kept_by_the_edge(directory, scratch)
                    rows.setdefault("idle process (MB)", idle / 1e6)
                    rows[f"idle {scheme} connection (KB)"] = each / 1e3
            for name, milliseconds in starts(args.starts, scratch, kept, certificates).items():
                rows[f"start to first answer, {name} (ms)"] = milliseconds
    print("| size | |\n|---|---:|")
    for name, value in rows.items():
        print(f"| {name} | {value:.1f} |")
    file = proxies.ROOT / "target/size.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=1))


def binary(scratch):
    stripped = scratch / "stripped"
    subprocess.run(["strip", "-o", stripped, isthmus_manifests.PROXY], check=True)
    return stripped.stat().st_size / 1e6


def idle_connections(running, scheme, count):
    """Resident bytes of the process without connections, and of each one of `count` that were used once."""
    time.sleep(1)
    before = resident(running)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    open_connections = []
    for _ in range(count):
        connection = socket.create_connection(("127.0.0.1", proxies.FRONT))
        if scheme == "https":
            connection = context.wrap_socket(connection, server_hostname="bench.example")
        connection.sendall(REQUEST)
        answer = connection.recv(16384)
        assert answer.startswith(b"HTTP/1.1 200"), answer[:100]
        open_connections.append(connection)
    time.sleep(1)
    each = (resident(running) - before) / count
    for connection in open_connections:
        connection.close()
    return before, each


def starts(count, scratch, kept, certificates):
    """Milliseconds, the median of `count` starts of each proxy."""
    commands = {name: start for name, start in proxies.ALL.items() if name != "isthmus"}
    times = {name: [] for name in ("isthmus", *commands)}
    for number in range(count):
        for name in times:
            directory = scratch / f"start-{name}-{number}"
            directory.mkdir()
            begin = time.monotonic()
            if name == "isthmus":
                starting = isthmus_manifests.proxy_alone(directory, kept, proxies.process, proxies.FRONT)
            else:
                starting = commands[name](directory, "http", 1, certificates)
            with starting:
                answered = first_answer()
            times[name].append((answered - begin) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def first_answer():
    """When a request was answered by a backend."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.create_connection(("127.0.0.1", proxies.FRONT), timeout=10) as connection:
            connection.sendall(REQUEST)
            if connection.recv(16384).startswith(b"HTTP/1.1 200"):
                return time.monotonic()
    sys.exit("a proxy started and gave no answer")


def resident(running):
    total = 0
    for pid in running.pids:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


if __name__ == "__main__":
    main()
