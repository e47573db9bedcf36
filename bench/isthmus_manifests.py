"""Isthmus under test: manifests for one cluster, and the commands that join two."""

import base64
import json
import os
import pathlib
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Another build of the program, for those who try something out; ISTHMUS_PROXY names its proxy.
ISTHMUS = os.environ.get("BENCH_ISTHMUS", ROOT / "target/release/isthmus")
PROXY = os.environ.get("ISTHMUS_PROXY", ROOT / "target/release/isthmus-proxy")

MESH = """
apiVersion: isthmus.dev/v1alpha1
kind: MeshInstall
metadata: {{name: mesh}}
spec:
  cluster: {{id: {name}, trustDomain: {name}.example, network: {name}}}
  proxy: {{threads: 1}}
  gateways: {{eastWest: {{address: 127.0.0.1, port: {port}}}}}
  dns: {{port: {dns}}}
"""

EDGE = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: bench}}
spec:
  gatewayClassName: isthmus
  listeners:
  - {{name: front, protocol: {protocol}, port: {port}{tls}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: bench, namespace: bench}}
spec:
  parentRefs: [{{name: edge}}]
  hostnames: [bench.example]
  rules:
  - backendRefs:
    - {{{backend}, name: bench, port: 80}}
"""

SERVICE = """
---
apiVersion: v1
kind: Service
metadata: {name: bench, namespace: bench}
spec: {ports: [{port: 80}]}
"""

SLICE = """
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: bench-{port}, namespace: bench, labels: {{kubernetes.io/service-name: bench}}}}
addressType: IPv4
ports: [{{port: {port}}}]
endpoints: [{{addresses: [127.0.0.1]}}]
"""

EXPORT = """
---
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceExport
metadata: {name: bench, namespace: bench}
"""

SECRET = """
---
apiVersion: v1
kind: Secret
metadata: {{name: edge, namespace: bench}}
type: kubernetes.io/tls
data: {{tls.crt: {crt}, tls.key: {key}}}
"""


def cluster(directory, name, scheme, front, east_west, backends, certs, process):
    """A running cluster: with an edge when `scheme` is given, with the service when it has `backends`."""
    manifests = directory / name
    manifests.mkdir()
    text = MESH.format(name=name, port=east_west, dns=east_west + 1000)
    if scheme:
        tls = ", tls: {certificateRefs: [{name: edge}]}" if scheme == "https" else ""
        backend = "kind: Service" if backends else "group: multicluster.x-k8s.io, kind: ServiceImport"
        text += EDGE.format(protocol=scheme.upper(), port=front, tls=tls, backend=backend)
    if scheme == "https":
        pem = {key: base64.b64encode((certs / f"server.{suffix}").read_bytes()).decode()
               for key, suffix in (("crt", "pem"), ("key", "key"))}
        text += SECRET.format(**pem)
    if backends:
        text += SERVICE + "".join(SLICE.format(port=port) for port in backends)
        text += "" if scheme else EXPORT
    (manifests / "all.yaml").write_text(text)
    ports = [front] if scheme else [east_west]
    return process([ISTHMUS, "run", "-f", manifests, "--state-dir", directory / f"{name}.state"], ports)


def command(directory, name, *arguments):
    done = subprocess.run(
        [str(ISTHMUS), *arguments, "--state-dir", str(directory / f"{name}.state")],
        capture_output=True, text=True, check=True,
    )
    return done.stdout


def join(directory):
    token = command(directory, "west", "peer", "invite").strip()
    command(directory, "east", "peer", "join", token)


def running_proxies(directory, name):
    """The cluster's proxies by role."""
    proxies = json.loads(command(directory, name, "get", "proxies", "-o", "json"))["items"]
    return {proxy["role"]: proxy for proxy in proxies}


def kept_by_the_edge(directory, scratch):
    """A copy of what the edge's proxy keeps on disk."""
    admin = running_proxies(directory, "east")["ingress"]["admin"]
    kept = scratch / "kept"
    kept.mkdir()
    for name in ("resources", "svid"):
        shutil.copy(pathlib.Path(admin).parent / name, kept)
    return kept


def proxy_alone(directory, kept, process, port):
    """A proxy that starts from what `kept` holds."""
    shutil.copytree(kept, directory, dirs_exist_ok=True)
    control, admin = directory / "none.sock", directory / "admin.sock"
    return process([PROXY, "--control", control, "--state-dir", directory, "--admin", admin, "--threads", "1"], [port])
