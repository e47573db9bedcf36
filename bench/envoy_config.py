"""Envoy's configuration for one proxy of the benchmark."""

import json

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
HTTP = "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def text(listen, tls, ports, mutual_upstream, certs):
    cluster = {
        "name": "backends",
        "type": "STATIC",
        "connect_timeout": "5s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": "backends",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}} for port in ports]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": HTTP,
                "explicit_http_config": {"http_protocol_options": {}},
            }
        },
    }
    if mutual_upstream:
        cluster["transport_socket"] = socket("UpstreamTlsContext", pair(certs, "client"), {"sni": "bench.example"})
    chain = {"filters": [{"name": "http", "typed_config": manager()}]}
    if tls:
        extra = {"require_client_certificate": True} if tls == "mutual" else {}
        chain["transport_socket"] = socket("DownstreamTlsContext", pair(certs, "server", tls == "mutual"), extra)
    return json.dumps(
        {
            "static_resources": {
                "listeners": [{"name": "front", "address": address(listen), "filter_chains": [chain]}],
                "clusters": [cluster],
            }
        }
    )


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def manager():
    route = {"match": {"prefix": "/"}, "route": {"cluster": "backends", "timeout": "15s"}}
    host = {"name": "bench", "domains": ["bench.example"], "routes": [route]}
    return {
        "@type": MANAGER,
        "stat_prefix": "front",
        "codec_type": "HTTP1",
        "use_remote_address": True,
        "generate_request_id": False,
        "route_config": {"virtual_hosts": [host]},
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
    }


def pair(certs, name, verify=True):
    common = {
        "tls_certificates": [
            {
                "certificate_chain": {"filename": f"{certs}/{name}.pem"},
                "private_key": {"filename": f"{certs}/{name}.key"},
            }
        ],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
    }
    if verify:
        common["validation_context"] = {"trusted_ca": {"filename": f"{certs}/ca.pem"}}
    return common


def socket(kind, common, extra):
    return {
        "name": "tls",
        "typed_config": {"@type": TLS + kind, "common_tls_context": common, **extra},
    }
