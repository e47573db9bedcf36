//! Golden outputs of the commands that need no instance, on the directories in `testdata`.

use std::{fs, process::Stdio};

use crate::common::{isthmus, ran, run, testdata};
use expect_test::{Expect, expect, expect_file};
use serde_json::Value;

fn json(args: &[&str]) -> Value {
    let ran = run(args);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn translate_prints_what_proxies_would_be_told() {
    let ran = run(&["translate", "-f", "shop/manifests"]);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    expect_file![testdata().join("shop/translate.yaml")].assert_eq(&ran.out);
}

#[test]
fn translate_reads_standard_input_and_several_files() {
    let gateway = fs::File::open(testdata().join("shop/manifests/gateway.yaml")).unwrap();
    let args = ["translate", "-f", "-", "shop/manifests/route.yaml", "-o", "json"];
    let ran = ran(isthmus(&args).stdin(Stdio::from(gateway)).output().unwrap());
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    let kinds: Vec<&str> = shown["scopes"][0]["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|resource| resource["kind"].as_str().unwrap())
        .collect();
    assert!(kinds.contains(&"Listener") && kinds.contains(&"Route"), "{kinds:?}");
}

#[test]
fn a_bad_object_keeps_no_other_from_being_translated() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["gateway.yaml", "route.yaml", "service.yaml"] {
        fs::copy(testdata().join("shop/manifests").join(name), dir.path().join(name)).unwrap();
    }
    fs::copy(testdata().join("broken/broken.yaml"), dir.path().join("x.yaml")).unwrap();
    let broken = run(&["translate", "-o", "json", "-f", dir.path().to_str().unwrap()]);
    let good = run(&["translate", "-o", "json", "-f", "shop/manifests"]);
    assert_eq!(broken.code, Some(1));
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let (shown, good) = (read(&broken.out), read(&good.out));
    assert_eq!(shown["scopes"], good["scopes"]);
    let statuses = shown["statuses"].as_array().unwrap();
    assert!(good["statuses"].as_array().unwrap().iter().all(|status| statuses.contains(status)));
    let refused =
        statuses.iter().find(|s| s["kind"] == "Gateway" && s["namespace"] == "default").unwrap();
    let accepted = &refused["status"]["conditions"][0];
    assert_eq!((&accepted["type"], &accepted["status"]), (&"Accepted".into(), &"False".into()));
    let message = accepted["message"].as_str().unwrap();
    assert!(message.contains("spec.listeners[0].port") && message.contains("x.yaml:10:11"), "{message}");
    assert!(broken.err.contains("x.yaml:10:11"), "{}", broken.err);
}

#[test]
fn d18_translate_shows_no_byte_of_a_key() {
    let made = rcgen::generate_simple_self_signed(vec!["tls.example".to_owned()]).unwrap();
    let (chain, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let indented =
        |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<Vec<_>>().concat();
    let manifests = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: tls}}\ntype: kubernetes.io/tls\nstringData:\n  \
         tls.crt: |\n{}  tls.key: |\n{}---\n\
         apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: edge}}\nspec:\n  \
         gatewayClassName: isthmus\n  listeners:\n  - name: https\n    protocol: HTTPS\n    port: 8443\n    \
         tls: {{certificateRefs: [{{name: tls}}]}}\n",
        indented(&chain),
        indented(&key),
    );
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("tls.yaml"), manifests).unwrap();
    for format in ["yaml", "json"] {
        let ran = run(&["translate", "-o", format, "-f", dir.path().to_str().unwrap()]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        assert!(ran.out.contains("(redacted)"), "{}", ran.out);
        for line in key.lines().filter(|line| !line.starts_with("-----")) {
            assert!(!ran.out.contains(line));
        }
    }
}

#[test]
fn validate_prints_every_error_with_its_place() {
    let ran = run(&["validate", "-f", "broken"]);
    assert_eq!((ran.code, &*ran.err), (Some(1), ""));
    expect_file![testdata().join("broken/validate.txt")].assert_eq(&ran.out);
}

#[test]
fn validate_says_the_same_to_programs() {
    let ran = run(&["validate", "-f", "broken", "-o", "json"]);
    assert_eq!(ran.code, Some(1));
    let shown: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(shown["valid"], false);
    let first = &shown["diagnostics"][0];
    assert_eq!((&first["line"], &first["column"]), (&10.into(), &11.into()), "{first}");
    assert_eq!(first["field"], "spec.listeners[0].port");
}

#[test]
fn validate_finds_nothing_wrong_where_nothing_is() {
    let ran = run(&["validate", "-f", "shop/manifests"]);
    assert_eq!((ran.code, &*ran.out), (Some(0), "no errors, no warnings\n"));
}

#[test]
fn validate_accepts_the_manifests_of_the_demo() {
    for directory in ["../../demo/east", "../../demo/west"] {
        let ran = run(&["validate", "-f", directory]);
        assert_eq!((ran.code, &*ran.out), (Some(0), "no errors, no warnings\n"), "{directory}");
    }
}

#[test]
fn validate_checks_what_a_mesh_install_means() {
    let dir = tempfile::tempdir().unwrap();
    let install = "apiVersion: isthmus.dev/v1alpha1\nkind: MeshInstall\nmetadata: {name: mesh}\nspec:\n  \
                   gateways: {eastWest: {address: 127.0.0.1, port: 1, advertise: ['192.0.2.1:99999']}}\n";
    fs::write(dir.path().join("mesh.yaml"), install).unwrap();
    let ran = run(&["validate", "-f", dir.path().to_str().unwrap()]);
    assert_eq!(ran.code, Some(1));
    assert!(ran.out.contains("spec.gateways.eastWest.advertise"), "{}", ran.out);
}

/// What `validate` says of a MeshInstall with this `spec`.
fn installs(spec: &str) -> (Option<i32>, String) {
    let dir = tempfile::tempdir().unwrap();
    let install = format!(
        "apiVersion: isthmus.dev/v1alpha1\nkind: MeshInstall\nmetadata: {{name: mesh}}\nspec: {spec}\n"
    );
    fs::write(dir.path().join("mesh.yaml"), install).unwrap();
    let ran = run(&["validate", "-f", dir.path().to_str().unwrap()]);
    (ran.code, ran.out)
}

#[test]
fn i3_a_directory_has_the_rules_of_an_api_server() {
    for good in [
        "{proxy: {replicas: 2, autoscale: {maxReplicas: 2}}}",
        "{proxy: {resources: {requests: {cpu: 1000m, memory: 1Gi}, limits: {cpu: '1', memory: 1024Mi}}}}",
        "{controlPlane: {image: '[2001:db8::1]:5000/a/b-c/d__e.f:v1_2'}}",
        "{gateways: {eastWest: {advertise: ['192.0.2.1:65535', '[2001:db8::1]:1']}}}",
        "{gateways: {eastWest: {address: 127.0.0.1, port: 1}}, dns: {address: 127.0.0.2, port: 1}}",
    ] {
        let (code, said) = installs(good);
        assert_eq!(code, Some(0), "{good}: {said}");
    }
    for (bad, why) in [
        ("{proxy: {replicas: 3, autoscale: {maxReplicas: 2}}}", "more replicas than autoscale"),
        (
            "{proxy: {resources: {requests: {cpu: '2'}, limits: {cpu: 1999m}}}}",
            "more cpu than the limit",
        ),
        (
            "{controlPlane: {resources: {requests: {memory: 1Gi}, limits: {memory: 1G}}}}",
            "more memory than the limit",
        ),
        ("{gateways: {eastWest: {advertise: ['192.0.2.1:65536']}}}", "IP addresses with ports"),
        ("{gateways: {eastWest: {advertise: ['192.0.2.256:1']}}}", "IP addresses with ports"),
        ("{dns: {port: 15443}}", "the same port for gateways.eastWest and dns"),
    ] {
        let (code, said) = installs(bad);
        assert!(code == Some(1) && said.contains(why), "{bad}: {said}");
    }
}

#[test]
fn i3_an_image_is_a_reference() {
    let digest = format!("proxy@sha256:{}", "0".repeat(64));
    for good in ["proxy", "isthmus.dev/proxy:0.1.0", "localhost:5000/proxy:1", &digest] {
        let (code, said) = installs(&format!("{{proxy: {{image: '{good}'}}}}"));
        assert_eq!(code, Some(0), "{good}: {said}");
    }
    for bad in
        ["proxy:", "proxy: 1", "/proxy", "proxy/", "a//b", "https://a/b", "Proxy", "proxy@sha256:0"]
    {
        let (code, said) = installs(&format!("{{proxy: {{image: '{bad}'}}}}"));
        assert!(code == Some(1) && said.contains("spec.proxy.image"), "{bad}: {said}");
    }
}

fn explained(args: &[&str], expected: &Expect) {
    let args = [&["explain"], args, &["-f", "shop/manifests"]].concat();
    let ran = run(&args);
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    expected.assert_eq(&ran.out);
}

#[test]
fn explain_shows_the_whole_chain() {
    explained(
        &["GET", "http://127.0.0.1:8080/cart/42?x=1", "-H", "Host: shop.example"],
        &expect![[r#"
            request    GET /cart/42?x=1
            host       shop.example
            socket     127.0.0.1:8080
            gateway    shop/edge
            listener   any (hostname *)
            route      HTTPRoute shop/shop
            rule       0 (cart)
            match      0: host shop.example, path /cart (prefix)
            filters    request headers: set x-env: prod; remove x-debug
                       rewrite: "/" in the place of the prefix
            timeouts   request 10s
            backends   cluster/shop/cart/80 (weight 3 of 4, 75 %)
                         cluster local
                           127.0.0.1:18081: ready, priority 0, weight 1
                           127.0.0.2:18081: draining, priority 0, weight 1
                       500 (weight 1 of 4, 25 %): spec.rules[0].backendRefs[1]: Service shop/missing does not exist

            other listeners
              shop/edge/admin (hostname admin.example): its hostname does not match

            other matches
              HTTPRoute/shop/shop/1, match 0 (host shop.example, path /cart (prefix), header x-canary: 1): header x-canary is missing
              HTTPRoute/shop/shop/2, match 0 (host shop.example, path /old (exact)): the path does not match
        "#]],
    );
}

#[test]
fn explain_shows_a_redirect() {
    explained(
        &["GET", "http://shop.example:8080/old"],
        &expect![[r#"
            request    GET /old
            host       shop.example
            socket     127.0.0.1:8080
            gateway    shop/edge
            listener   any (hostname *)
            route      HTTPRoute shop/shop
            rule       2
            match      0: host shop.example, path /old (exact)
            filters    redirect with 301, scheme https, host new.example
            location   https://new.example/old

            other listeners
              shop/edge/admin (hostname admin.example): its hostname does not match

            other matches
              HTTPRoute/shop/shop/0, match 0 (host shop.example, path /cart (prefix)): the path does not match
              HTTPRoute/shop/shop/1, match 0 (host shop.example, path /cart (prefix), header x-canary: 1): the path does not match
        "#]],
    );
}

#[test]
fn explain_shows_why_nobody_answers() {
    explained(
        &["GET", "http://other.example:8080/cart"],
        &expect![[r#"
        request    GET /cart
        host       other.example
        socket     127.0.0.1:8080
        gateway    shop/edge
        listener   any (hostname *)
        answer     404: no match of the listener's routes fits

        other listeners
          shop/edge/admin (hostname admin.example): its hostname does not match

        other matches
          HTTPRoute/shop/shop/0, match 0 (host shop.example, path /cart (prefix)): the host does not match
          HTTPRoute/shop/shop/1, match 0 (host shop.example, path /cart (prefix), header x-canary: 1): the host does not match
          HTTPRoute/shop/shop/2, match 0 (host shop.example, path /old (exact)): the host does not match
    "#]],
    );
    explained(
        &["GET", "http://admin.example:8080/cart"],
        &expect![[r#"
        request    GET /cart
        host       admin.example
        socket     127.0.0.1:8080
        gateway    shop/edge
        listener   admin (hostname admin.example)
        answer     404: no match of the listener's routes fits

        other listeners
          shop/edge/any (hostname *): another listener's hostname is more specific
    "#]],
    );
    explained(
        &["GET", "http://shop.example/cart"],
        &expect![[r#"
        nothing listens where http://shop.example/cart leads
    "#]],
    );
}

#[test]
fn explain_says_the_same_to_programs() {
    let url = "http://127.0.0.1:8080/cart";
    let shown =
        json(&["explain", "GET", url, "-H", "host: shop.example", "-f", "shop/manifests", "-o", "json"]);
    let answer = &shown["answers"][0];
    assert_eq!(answer["explanation"]["outcome"]["rule"], "HTTPRoute/shop/shop/0");
    assert_eq!(answer["backends"][0]["service"], "cluster/shop/cart/80");
    assert_eq!(answer["backends"][0]["endpoints"][0]["id"], "127.0.0.1:18081");
    assert_eq!(answer["backends"][1]["service"], Value::Null);
}

#[test]
fn b4_explain_reads_a_request_as_proxies_do() {
    let args = [
        "explain",
        "GET",
        "http://shop.example:8080/x/..//cart/%61",
        "-f",
        "shop/manifests",
        "-o",
        "json",
    ];
    assert_eq!(json(&args)["answers"][0]["explanation"]["request"]["path"], "/cart/a");
    let refused = run(&["explain", "GET", "http://shop.example:8080/a%2fb", "-f", "shop/manifests"]);
    assert_eq!(refused.code, Some(2), "{}", refused.err);
}
