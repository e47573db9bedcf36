"""Load, and what it cost the proxies under it."""

import pathlib
import re
import subprocess
import time

CONNECTIONS = 64
OPEN_LOOP_RATE = 6000


def cpu_seconds(pids):
    """CPU time of all threads of `pids`, in seconds."""
    total = 0
    for pid in pids:
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def saturate(running, seconds):
    """64 keep-alive connections, each with the next request as soon as the last one is answered."""
    before = cpu_seconds(running.pids)
    output = on_core_1(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-H", "Host: bench.example", running.url]
    )
    used = cpu_seconds(running.pids) - before
    requests = int(re.search(r"(\d+) requests in", output)[1])
    errors = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", output))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
    return figures(
        requests,
        seconds,
        used,
        percentile(output, "50%"),
        percentile(output, "99%"),
        errors + (int(refused[1]) if refused else 0),
    )


def open_loop(running, seconds):
    """A fixed rate, whether or not earlier requests were answered: about half of what Envoy can do."""
    before = cpu_seconds(running.pids)
    output = on_core_1(
        [
            "h2load",
            "--h1",
            f"-c{CONNECTIONS}",
            f"-n{OPEN_LOOP_RATE * seconds}",
            f"--rps={OPEN_LOOP_RATE / CONNECTIONS}",
            "-H",
            ":authority: bench.example",
            "--log-file=/dev/stdout",
            running.url,
        ]
    )
    used = cpu_seconds(running.pids) - before
    lines = [line.split("\t") for line in output.splitlines() if re.match(r"^\d+\t-?\d+\t\d+$", line)]
    latencies = sorted(int(line[2]) for line in lines)
    errors = sum(1 for line in lines if line[1] != "200")
    return figures(
        len(lines), seconds, used, latencies[len(latencies) // 2], latencies[len(latencies) * 99 // 100], errors
    )


def figures(requests, seconds, used, p50, p99, errors):
    return {
        "requests": requests,
        "rate": requests / seconds,
        "cpu_us": used * 1e6 / max(requests, 1),
        "p50_us": p50,
        "p99_us": p99,
        "errors": errors,
    }


def percentile(output, which):
    value, unit = re.search(rf"{which}\s+([\d.]+)(us|ms|s)", output).groups()
    return float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]


def on_core_1(command):
    done = subprocess.run(
        ["taskset", "-c", "1", *command], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout
