"""The machine and the versions of the proxies, as the results need them to mean anything."""

import os
import pathlib
import platform
import re
import subprocess

import isthmus_manifests


def describe():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())[1]
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]) / 2**20
    system = re.search(r'PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text())[1]
    print(f"{cpu}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}, {system}.")
    print(", ".join(f"{name} {version(*command)}" for name, command in COMMANDS.items()) + ".\n")


COMMANDS = {
    "Isthmus": (isthmus_manifests.PROXY, "--version"),
    "Envoy": (os.environ.get("BENCH_ENVOY", "envoy"), "--version"),
    "HAProxy": ("haproxy", "-v"),
    "nginx": ("nginx", "-v"),
    "wrk": ("wrk", "-v"),
    "h2load": ("h2load", "--version"),
}


def version(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout + done.stderr)
    return found[0] if found else "?"
