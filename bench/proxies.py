"""The proxies under test, with configurations that ask the same of each.

One route for one host, three endpoints (one nginx on three ports), least request where the proxy has it,
upstream keep-alive, metrics on, access log off, one worker thread on core 0. `hops` is 2 for a pair of
proxies with mutual TLS between them.
"""

import contextlib
import dataclasses
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BACKEND_PORTS = [19001, 19002, 19003]
FRONT, BACK = 19080, 19081
BODY = "x" * 1024


@dataclasses.dataclass
class Running:
    """Proxies that are up: where to send, and whose CPU to count (theirs and their children's)."""

    url: str
    roots: list

    @property
    def pids(self):
        # Each time anew: a worker may come after its port listens.
        return [pid for root in self.roots for pid in family(root)]


def run(*command, **options):
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, **options)


def certificates(scratch):
    """A CA, and a server and a client certificate of it, as PEM files."""
    directory = scratch / "certificates"
    directory.mkdir()
    ca = directory / "ca.pem"
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    run("openssl", "req", "-x509", *key, "-subj", "/CN=bench", "-keyout", directory / "ca.key", "-out", ca)
    for name in ("server", "client"):
        request = directory / f"{name}.csr"
        run("openssl", "req", *key[:-2], "-subj", f"/CN={name}", "-keyout", directory / f"{name}.key", "-out", request)
        extensions = directory / f"{name}.ext"
        extensions.write_text("subjectAltName=DNS:bench.example\nbasicConstraints=critical,CA:FALSE\n")
        run("openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", directory / "ca.key", "-CAcreateserial",
            "-days", "2", "-extfile", extensions, "-out", directory / f"{name}.pem")
        both = (directory / f"{name}.pem").read_text() + (directory / f"{name}.key").read_text()
        (directory / f"{name}-both.pem").write_text(both)
    return directory


@contextlib.contextmanager
def backend(scratch):
    """nginx on core 1 that answers 1 KiB on three ports."""
    directory = scratch / "backend"
    directory.mkdir()
    servers = "".join(f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{BODY}'; }} }}\n" for port in BACKEND_PORTS)
    (directory / "nginx.conf").write_text(nginx_frame(directory, servers))
    with process(["nginx", "-c", directory / "nginx.conf", "-p", directory], BACKEND_PORTS, core=1):
        yield


@contextlib.contextmanager
def process(command, ports, core=0, environment=None):
    """Runs `command` pinned to `core` until the block ends; its process id."""
    for port in ports:
        if listens(port):
            sys.exit(f"port {port} is taken; the benchmark needs it")
    child = subprocess.Popen(
        ["taskset", "-c", str(core), *[str(part) for part in command]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        wait_for(ports, child)
        yield child.pid
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def listens(port):
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(ports, child):
    deadline = time.monotonic() + 20
    while not all(listens(port) for port in ports):
        if child.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"{child.args} did not start")
        time.sleep(0.001)


def family(pid):
    """`pid` and all its descendants."""
    pids = [pid]
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            pids += family(int(child))
    return pids


def chain(one):
    """Makes a context manager of the whole chain from `one(directory, listen, tls, upstream, certificates)`.

    `upstream` is None for the backends, else the port of the second proxy, reached by mutual TLS."""

    @contextlib.contextmanager
    def start(directory, scheme, hops, certs):
        with contextlib.ExitStack() as stack:
            roots = []
            if hops == 2:
                back = directory / "back"
                back.mkdir()
                roots.append(stack.enter_context(one(back, BACK, "mutual", None, certs)))
            front = directory / "front"
            front.mkdir()
            tls = "server" if scheme == "https" else None
            roots.append(stack.enter_context(one(front, FRONT, tls, BACK if hops == 2 else None, certs)))
            yield Running(f"{scheme}://127.0.0.1:{FRONT}/", roots)

    return start


def nginx_frame(directory, http):
    return f"""
daemon off; worker_processes 1; pid {directory}/pid; error_log /dev/null;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 300s;
client_body_temp_path {directory}/b; proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f;
uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
{http} }}
"""


def nginx(directory, listen, tls, upstream, certs):
    servers = [upstream] if upstream else BACKEND_PORTS
    lines = "".join(f"server 127.0.0.1:{port};" for port in servers)
    ssl = ""
    if tls:
        ssl = f"ssl_certificate {certs}/server.pem; ssl_certificate_key {certs}/server.key; ssl_protocols TLSv1.3;"
    if tls == "mutual":
        ssl += f"ssl_client_certificate {certs}/ca.pem; ssl_verify_client on;"
    to = "http://backends"
    if upstream:
        to = "https://backends"
        ssl += f"""proxy_ssl_certificate {certs}/client.pem; proxy_ssl_certificate_key {certs}/client.key;
            proxy_ssl_trusted_certificate {certs}/ca.pem; proxy_ssl_verify on; proxy_ssl_name bench.example;
            proxy_ssl_protocols TLSv1.3;"""
    (directory / "nginx.conf").write_text(
        nginx_frame(
            directory,
            f"""upstream backends {{ least_conn; {lines} keepalive 128; keepalive_requests 1000000000; }}
            server {{ listen 127.0.0.1:{listen} {'ssl' if tls else ''}; server_name bench.example; {ssl}
              location = /status {{ stub_status; }}
              location / {{ proxy_pass {to}; proxy_http_version 1.1; proxy_set_header Connection "";
                proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; }} }}""",
        )
    )
    return process(["nginx", "-c", directory / "nginx.conf", "-p", directory], [listen])


def haproxy(directory, listen, tls, upstream, certs):
    ssl = f" ssl crt {certs}/server-both.pem alpn http/1.1 ssl-min-ver TLSv1.3" if tls else ""
    if tls == "mutual":
        ssl += f" ca-file {certs}/ca.pem verify required"
    servers = [upstream] if upstream else BACKEND_PORTS
    to = f" ssl crt {certs}/client-both.pem ca-file {certs}/ca.pem verify required sni str(bench.example) ssl-min-ver TLSv1.3" if upstream else ""
    lines = "\n".join(f"  server s{port} 127.0.0.1:{port}{to}" for port in servers)
    (directory / "haproxy.cfg").write_text(
        f"""
global
  nbthread 1
  maxconn 4000
  stats socket {directory}/admin.sock
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 300s
  option http-keep-alive
  http-reuse always
frontend front
  bind 127.0.0.1:{listen}{ssl}
  option forwardfor
  acl bench hdr(host) -i bench.example
  use_backend backends if bench
backend backends
  balance leastconn
{lines}
"""
    )
    return process(["haproxy", "-db", "-f", directory / "haproxy.cfg"], [listen])


def envoy(directory, listen, tls, upstream, certs):
    import envoy_config

    config = directory / "envoy.json"
    config.write_text(envoy_config.text(listen, tls, [upstream] if upstream else BACKEND_PORTS, bool(upstream), certs))
    binary = os.environ["BENCH_ENVOY"]
    flags = ["--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]
    return process([binary, "-c", config, *flags], [listen])


@contextlib.contextmanager
def isthmus(directory, scheme, hops, certs):
    """`isthmus run` on manifests as a user would write them; a pair is two clusters that have joined."""
    import isthmus_manifests

    with contextlib.ExitStack() as stack:
        if hops == 2:
            stack.enter_context(isthmus_manifests.cluster(directory, "west", None, FRONT, BACK, BACKEND_PORTS, certs, process))
        east = isthmus_manifests.cluster(
            directory, "east", scheme, FRONT, BACK + 1, [] if hops == 2 else BACKEND_PORTS, certs, process
        )
        stack.enter_context(east)
        if hops == 2:
            isthmus_manifests.join(directory)
        # Requests come in at the edge of east, and through the east-west gateway into west.
        pids = [isthmus_manifests.running_proxies(directory, "east")["ingress"]["pid"]]
        if hops == 2:
            pids.append(isthmus_manifests.running_proxies(directory, "west")["east-west"]["pid"])
        yield Running(f"{scheme}://127.0.0.1:{FRONT}/", pids)


ALL = {"envoy": chain(envoy), "haproxy": chain(haproxy), "nginx": chain(nginx), "isthmus": isthmus}
