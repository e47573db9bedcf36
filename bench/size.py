#!/usr/bin/env python3
"""What Isthmus's proxy weighs: binary, idle process and idle connections.

usage: bench/size.py [--connections N]
"""

import argparse
import json
import pathlib
import resource
import socket
import ssl
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import proxies

REQUEST = b"GET / HTTP/1.1\r\nHost: bench.example\r\n\r\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=9000)
    connections = parser.parse_args().connections
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
                    idle, each = idle_connections(running, scheme, connections)
                    rows.setdefault("idle process (MB)", idle / 1e6)
                    rows[f"idle {scheme} connection (KB)"] = each / 1e3
    for name, value in rows.items():
        print(f"{name:<32} {value:>8.1f}")
    print(json.dumps(rows))


def binary(scratch):
    stripped = scratch / "stripped"
    subprocess.run(["strip", "-o", stripped, proxies.ROOT / "target/release/isthmus-proxy"], check=True)
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


def resident(running):
    total = 0
    for pid in running.pids:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1]) * 1024
    return total


if __name__ == "__main__":
    main()
