#!/usr/bin/env python3
"""What a control plane costs on a real API server, and how fast a write is in force at a proxy.

The API server has no nodes: the proxy is a process of this machine, whose token is bound to a Pod that
nothing runs. Prints one table for each number of routes. Usage: operator.py PROGRAMS BINARIES DEFINITIONS
[ROUTES...]: the directories of etcd and kube-apiserver, and of what is built here, both what is measured and
what measures; and a file with the definitions of Gateway API.
"""

import http.client
import itertools
import json
import os
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# An address that is no loopback address, which an API server refuses for endpoints, and is of this machine.
BACKEND = "192.0.2.1"
BACKEND_PORT, PROXY_PORT = 19000, 18080
RATES = [20, 50, 100]  # changes a second
SECONDS = 30  # for each rate
OTHERS = 100_000  # requests meanwhile
NAMESPACE = "bench"
SERVICES, ENDPOINTS = 10_000, 10  # endpoints of each service


def free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """An API server and its etcd, and requests to it."""

    def __init__(self, programs, directory):
        self.port, self.directory, self.processes = free(), directory, []
        self.local = threading.local()
        clients, peers = f"http://127.0.0.1:{free()}", f"http://127.0.0.1:{free()}"
        (directory / "tokens").write_text("administrator,administrator,1,system:masters\n")
        subprocess.run(["openssl", "genrsa", "-out", directory / "key", "2048"], check=True, capture_output=True)
        self.run([programs / "etcd", "--data-dir", directory / "etcd", "--listen-client-urls", clients,
                  "--advertise-client-urls", clients, "--listen-peer-urls", peers, "--unsafe-no-fsync"])
        self.run([programs / "kube-apiserver", "--etcd-servers", clients, "--bind-address", "127.0.0.1",
                  "--secure-port", str(self.port), "--cert-dir", directory / "certificates",
                  "--token-auth-file", directory / "tokens", "--service-account-key-file", directory / "key",
                  "--service-account-signing-key-file", directory / "key", "--service-account-issuer",
                  "https://kubernetes.default.svc", "--service-cluster-ip-range", "10.96.0.0/12",
                  "--authorization-mode", "RBAC", "--endpoint-reconciler-type", "none",
                  "--max-mutating-requests-inflight", "1000"])
        self.kubeconfig = directory / "kubeconfig"
        self.kubeconfig.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{self.port}",
                                                   "insecure-skip-tls-verify": True}}],
            "users": [{"name": "c", "user": {"token": "administrator"}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]}))
        until(60, lambda: self.ask("GET", "/readyz")[0] == 200)

    def run(self, command):
        log = open(self.directory / f"{Path(command[0]).name}.log", "w")
        # There is memory enough: an API server that shares two cores with all else collects less often.
        environment = {"GOGC": "400", **os.environ}
        self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, env=environment))

    def ask(self, method, path, body=None, content="application/json"):
        for attempt in (1, 2):
            connection = getattr(self.local, "connection", None)
            if connection is None:
                connection = http.client.HTTPSConnection(
                    "127.0.0.1", self.port, context=ssl._create_unverified_context(), timeout=60)
                self.local.connection = connection
            try:
                headers = {"Authorization": "Bearer administrator", "Content-Type": content}
                connection.request(method, path, json.dumps(body) if body is not None else None, headers)
                answer = connection.getresponse()
                return answer.status, answer.read()
            except (OSError, http.client.HTTPException):
                self.local.connection = None
                if attempt == 2:
                    return 0, b""

    def make(self, path, body):
        status, said = self.ask("POST", path, body)
        if status not in (200, 201, 409):
            raise SystemExit(f"POST {path}: {status} {said[:300]}")
        return json.loads(said)

    def make_all(self, jobs):
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda job: self.make(*job), jobs))

    def end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()


def until(seconds, holds):
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds} s")
        time.sleep(0.01)


def apply_definitions(server, kubectl, files):
    for file in files:
        subprocess.run([kubectl, "--kubeconfig", server.kubeconfig, "apply", "--server-side", "-f", file],
                       check=True, capture_output=True)


def route(index):
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": f"r-{index}", "namespace": NAMESPACE},
            "spec": {"parentRefs": [{"name": "edge"}], "hostnames": [f"h{index}.example"],
                     "rules": [{"filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {
                         "set": [{"name": "x-generation", "value": "0"}]}}],
                         "backendRefs": [{"name": "web", "port": 80}]}]}}


ROUTES_PATH = f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes"


def mesh(server, routes):
    server.make("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    server.make("/api/v1/namespaces", {"metadata": {"name": "isthmus-system"}})
    server.make("/apis/isthmus.dev/v1alpha1/meshinstalls",
                {"apiVersion": "isthmus.dev/v1alpha1", "kind": "MeshInstall", "metadata": {"name": "mesh"}, "spec": {}})
    group = "/apis/gateway.networking.k8s.io/v1"
    server.make(f"{group}/gatewayclasses", {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass", "metadata": {"name": "isthmus"},
        "spec": {"controllerName": "isthmus.dev/gateway"}})
    server.make(f"{group}/namespaces/{NAMESPACE}/gateways", {
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "edge", "namespace": NAMESPACE},
        "spec": {"gatewayClassName": "isthmus",
                 "listeners": [{"name": "http", "port": PROXY_PORT, "protocol": "HTTP"}]}})
    core = f"/api/v1/namespaces/{NAMESPACE}"
    server.make(f"{core}/serviceaccounts", {"metadata": {"name": "edge-isthmus"}})
    pod = server.make(f"{core}/pods", {
        "metadata": {"name": "edge-1"},
        "spec": {"serviceAccountName": "edge-isthmus", "automountServiceAccountToken": False,
                 "containers": [{"name": "c", "image": "none"}]}})
    server.make(f"{core}/services", {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}})
    server.make(f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices", {
        "metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
        "ports": [{"name": "", "port": BACKEND_PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [BACKEND], "conditions": {"ready": True}}]})
    server.make_all((ROUTES_PATH, route(i)) for i in range(routes))
    token = server.make(f"{core}/serviceaccounts/edge-isthmus/token", {
        "spec": {"audiences": ["isthmus.dev/ca"], "boundObjectRef": {
            "kind": "Pod", "apiVersion": "v1", "name": "edge-1", "uid": pod["metadata"]["uid"]}}})
    return token["status"]["token"]


class Backend:
    """Answers everything, with as little work as can be."""

    def __init__(self):
        self.directory = tempfile.TemporaryDirectory()
        config = Path(self.directory.name, "nginx.conf")
        config.write_text(
            # nginx removes its pid file when it ends, whatever that is.
            f"worker_processes 1; daemon off; error_log /dev/null; pid {config.with_name('pid')}; events {{}}\n"
            f"http {{ access_log off; keepalive_requests 1000000; server {{ listen {BACKEND}:{BACKEND_PORT};"
            " location / { return 200 ok; } } }\n")
        self.process = subprocess.Popen(["nginx", "-c", config], stderr=subprocess.DEVNULL)

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.directory.cleanup()


def serves(index):
    connection = http.client.HTTPConnection("127.0.0.1", PROXY_PORT, timeout=5)
    try:
        connection.request("GET", "/", headers={"Host": f"h{index}.example"})
        answer = connection.getresponse()
        answer.read()
        return (answer.status, answer.getheader("x-generation")) == (200, "0")
    finally:
        connection.close()


def change_all(server, binaries, routes, first, rate):
    """Milliseconds from when a write was due to its answer, and to the first request that shows it, sorted."""
    began = time.perf_counter()
    said = subprocess.run(
        [binaries / "route_changes", f"127.0.0.1:{PROXY_PORT}", NAMESPACE, str(routes), str(first),
         str(rate), str(SECONDS)],
        env={**os.environ, "KUBECONFIG": str(server.kubeconfig)}, check=True, stdout=subprocess.PIPE, text=True).stdout
    took = json.loads(said)
    return took["written"], took["in_force"], len(took["in_force"]) / (time.perf_counter() - began)


def rss(pid):
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0


def cpu(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Mesh:
    """A control plane and a proxy."""

    def __init__(self, server, binaries, directory, token):
        (directory / "token").write_text(token)
        self.listen, self.ready = free(), free()
        environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "POD_NAME": "control-plane-1",
                       "POD_NAMESPACE": "isthmus-system"}
        log = open(directory / "control-plane.log", "w")
        self.began = time.perf_counter()
        self.control_plane = subprocess.Popen(
            [binaries / "isthmus", "control-plane", "--mesh-install", "mesh", "--listen", f"127.0.0.1:{self.listen}",
             "--ready-address", f"127.0.0.1:{self.ready}"], env=environment, stderr=log)
        root = f"/api/v1/namespaces/isthmus-system/configmaps/isthmus-root"
        until(60, lambda: server.ask("GET", root)[0] == 200)
        pem = json.loads(server.ask("GET", root)[1])["data"]["root.pem"]
        (directory / "root.pem").write_text(pem)
        log = open(directory / "proxy.log", "w")
        self.proxy = subprocess.Popen(
            [binaries / "isthmus-proxy", "--control-plane", f"127.0.0.1:{self.listen}", "--control-plane-id",
             "spiffe://local.isthmus.local/ns/isthmus-system/sa/isthmus-control-plane", "--roots",
             directory / "root.pem", "--token-file", directory / "token", "--threads", "1"], stderr=log)

    def end(self):
        for process in (self.proxy, self.control_plane):
            process.send_signal(signal.SIGKILL)
            process.wait()


def others():
    """A hundred thousand requests to a route that nobody changes, while others are changed."""
    return subprocess.Popen(
        ["h2load", "--h1", "-n", str(OTHERS), "-c", "4", "--rps", str(OTHERS // SECONDS // 4),
         f"--connect-to=127.0.0.1:{PROXY_PORT}", f"http://h0.example:{PROXY_PORT}/"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))]


def measure_changes(server, binaries, routes, first, rate):
    load = others()
    written, took, done = change_all(server, binaries, routes, first, rate)
    said = load.communicate(timeout=300)[0]
    counted = next(line for line in said.splitlines() if line.startswith("requests:"))
    row(f"at {rate} changes a second, done a second", f"{done:.0f}")
    for name, values in (("write, p50 / p99 / worst", written), ("... to in force, p50 / p99 / worst", took)):
        median = statistics.median(values)
        row(name, f"{median:.0f} / {percentile(values, 0.99):.0f} / {values[-1]:.0f} ms")
    row("other requests", counted.removeprefix("requests: "))
    return first + len(took)


def measure(programs, binaries, definitions, routes):
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        server, backend, running = Server(programs, directory), Backend(), None
        try:
            crds = Path(__file__).parent.parent / "crds/manifests"
            apply_definitions(server, programs / "kubectl", [definitions, crds])
            token = mesh(server, routes)
            running = Mesh(server, binaries, directory, token)
            until(120, lambda: serves(routes - 1))
            started = time.perf_counter() - running.began
            last = max(f"r-{i}" for i in range(routes))
            until(300, lambda: b"isthmus.dev/Programmed" in server.ask("GET", f"{ROUTES_PATH}/{last}")[1])
            time.sleep(5)
            pid = running.control_plane.pid
            before = cpu(pid)
            time.sleep(10)
            idle = (cpu(pid) - before) / 10
            row(f"{routes} routes: start to serving", f"{started:.2f} s")
            row("idle, once all statuses are written", f"{idle * 100:.2f} % of a core")
            first = 0
            for rate in RATES:
                first = measure_changes(server, binaries, routes, first, rate)
            row("RSS of the control plane", f"{rss(pid):.0f} MB")
        finally:
            if running:
                running.end()
            backend.end()
            server.end()


def size(programs, binaries, definitions):
    """The memory of a control plane that knows many services."""
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        server, running = Server(programs, directory), None
        try:
            crds = Path(__file__).parent.parent / "crds/manifests"
            apply_definitions(server, programs / "kubectl", [definitions, crds])
            token = mesh(server, 1)
            core = f"/api/v1/namespaces/{NAMESPACE}/services"
            server.make_all((core, {"metadata": {"name": f"s-{i}"}, "spec": {"ports": [{"port": 80}],
                                    "clusterIP": "None"}}) for i in range(SERVICES))
            addresses = (f"10.{a}.{b}.{c}" for a, b, c in
                         itertools.product(range(1, 200), range(256), range(1, 255)))
            slices = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
            server.make_all((slices, {
                "metadata": {"name": f"s-{i}", "labels": {"kubernetes.io/service-name": f"s-{i}"}},
                "addressType": "IPv4", "ports": [{"name": "", "port": 80, "protocol": "TCP"}],
                "endpoints": [{"addresses": [next(addresses)], "conditions": {"ready": True},
                               "nodeName": "n", "zone": "z"} for _ in range(ENDPOINTS)]})
                            for i in range(SERVICES))
            running = Mesh(server, binaries, directory, token)
            time.sleep(15)
            pid = running.control_plane.pid
            before = cpu(pid)
            time.sleep(10)
            row(f"{SERVICES} services, {SERVICES * ENDPOINTS} endpoints: RSS", f"{rss(pid):.0f} MB")
            row("idle", f"{(cpu(pid) - before) * 10:.2f} % of a core")
        finally:
            if running:
                running.end()
            server.end()


def row(name, value):
    print(f"| {name:<55} | {value:>60} |", flush=True)


def main():
    programs, binaries, definitions = (Path(argument) for argument in sys.argv[1:4])
    counts = [int(argument) for argument in sys.argv[4:]] or [1_000, 10_000]
    subprocess.run(["ip", "address", "replace", f"{BACKEND}/32", "dev", "lo"], check=True)
    try:
        row("what", "measured")
        for routes in counts:
            measure(programs, binaries, definitions, routes)
        size(programs, binaries, definitions)
        installed = subprocess.run([binaries / "install_time"], check=True, stdout=subprocess.PIPE, text=True)
        row("install to Ready on a fresh cluster", f"{installed.stdout.strip()} s")
    finally:
        subprocess.run(["ip", "address", "del", f"{BACKEND}/32", "dev", "lo"], check=False)


main()
