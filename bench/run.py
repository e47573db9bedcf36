#!/usr/bin/env python3
"""What a request costs: Isthmus beside Envoy, HAProxy and nginx, interleaved, on this machine.

Every proxy runs with one worker thread on core 0; load generator and backend share core 1. CPU time is
read from /proc/PID/task/*/schedstat, so that it counts what the proxy used and nothing else, and the
ratio to Envoy is taken within a round, because noise moves a whole round. Metrics are on and access logs
are off everywhere.

usage: bench/run.py [--rounds N] [--seconds S] [--only ROW,...] [--json FILE]
"""

import argparse
import json
import pathlib
import statistics
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import machine
import measure
import proxies

ROOT = pathlib.Path(__file__).resolve().parent.parent

# name: (what the front listens as, number of proxies in the chain, load)
ROWS = {
    "http1-saturated": ("http", 1, measure.saturate),
    "http1-open-loop": ("http", 1, measure.open_loop),
    "tls-saturated": ("https", 1, measure.saturate),
    "mtls-pair": ("http", 2, measure.saturate),
}


def main():
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="isthmus-bench-") as scratch:
        scratch = pathlib.Path(scratch)
        certificates = proxies.certificates(scratch)
        with proxies.backend(scratch):
            result = {row: run_row(row, args, scratch, certificates) for row in args.only}
    machine.describe()
    table(result)
    print_json(result, args.json)


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--only", default=",".join(ROWS), type=lambda text: text.split(","))
    parser.add_argument("--proxies", default=",".join(proxies.ALL), type=lambda text: text.split(","))
    parser.add_argument("--json", type=pathlib.Path, default=ROOT / "target/bench.json")
    return parser.parse_args()


def run_row(row, args, scratch, certificates):
    scheme, hops, load = ROWS[row]
    samples = {name: [] for name in args.proxies}
    for number in range(args.rounds):
        for name in args.proxies:
            directory = scratch / f"{row}-{name}-{number}"
            directory.mkdir()
            with proxies.ALL[name](directory, scheme, hops, certificates) as running:
                load(running, 1)
                samples[name].append(load(running, args.seconds))
            print(f"{row} round {number + 1}: {name}: {samples[name][-1]}", file=sys.stderr)
    return samples


def ratio(samples, name, others):
    """The median, over the rounds, of CPU per request of `name` to the least of `others` in that round."""
    others = [samples[other] for other in others if other in samples and other != name]
    if not others:
        return None
    rounds = zip(samples[name], *others)
    return statistics.median(own["cpu_us"] / min(run["cpu_us"] for run in rest) for own, *rest in rounds)


def table(result):
    columns = ["row", "proxy", "CPU us/request", "to Envoy", "to the better of HAProxy and nginx", "requests/s", "p50 us", "p99 us", "errors"]
    print("| " + " | ".join(columns) + " |")
    print("|---|---" + "|---:" * (len(columns) - 2) + "|")
    for row, samples in result.items():
        for name, runs in samples.items():
            median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            to_envoy, to_best = ratio(samples, name, ["envoy"]), ratio(samples, name, ["haproxy", "nginx"])
            shown = [f"{value:.2f}" if value is not None else "" for value in (to_envoy, to_best if name == "isthmus" else None)]
            print(
                f"| {row} | {name} | {median['cpu_us']:.1f} | {shown[0]} | {shown[1]} | {median['rate']:.0f} "
                f"| {median['p50_us']:.0f} | {median['p99_us']:.0f} | {median['errors']:.0f} |"
            )


def print_json(result, file):
    rows = {
        row: {name: {"to_envoy": ratio(samples, name, ["envoy"]), "to_best": ratio(samples, name, ["haproxy", "nginx"]), "runs": runs} for name, runs in samples.items()}
        for row, samples in result.items()
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(rows, indent=1))
    print(f"written to {file}", file=sys.stderr)


if __name__ == "__main__":
    main()
