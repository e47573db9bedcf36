//! A real API server with the definitions of Gateway API and ours, and how to ask it.

use isthmus_api_server::{Client, connect};
use isthmus_control_plane::files::kinds::FileKind;
use isthmus_e2e::{api_server::ApiServer, conformance};
use serde_json::Value;

/// Starts one with a channel of Gateway API.
pub(crate) async fn start(channel: &str) -> (ApiServer, Client) {
    let (server, client) = bare().await;
    define(&server, channel);
    (server, client)
}

/// Installs a channel of Gateway API.
pub(crate) fn define(server: &ApiServer, channel: &str) {
    server.define(&conformance::crds(channel).unwrap()).unwrap();
}

/// Starts one with our own definitions only.
pub(crate) async fn bare() -> (ApiServer, Client) {
    let server = tokio::task::spawn_blocking(ApiServer::start).await.unwrap().unwrap();
    server.define_own().unwrap();
    let client = connect(Some(&server.kubeconfig()), None).await.unwrap();
    (server, client)
}

/// Makes an object, or makes another version of it of what is there.
pub(crate) async fn apply(client: &Client, object: &Value) -> Result<Value, String> {
    let name = object["metadata"]["name"].as_str().unwrap();
    let options = "fieldManager=test&force=true&fieldValidation=Strict";
    let path = format!("{}/{}?{options}", collection(object), escaped(name));
    let request = http::Request::patch(path).header("content-type", "application/apply-patch+yaml");
    send(client, request, object).await
}

/// What an object would be if it were made.
pub(crate) async fn try_out(client: &Client, object: &Value) -> Result<Value, String> {
    let path = format!("{}?fieldValidation=Strict&dryRun=All", collection(object));
    let request = http::Request::post(path).header("content-type", "application/json");
    send(client, request, object).await
}

/// What an object that is there would be if it were replaced by `object`.
pub(crate) async fn try_over(client: &Client, old: &Value, object: &Value) -> Result<Value, String> {
    let name = escaped(old["metadata"]["name"].as_str().unwrap());
    let path = format!("{}/{name}?fieldValidation=Strict&dryRun=All", collection(old));
    let mut object = object.clone();
    object["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
    let request = http::Request::put(path).header("content-type", "application/json");
    send(client, request, &object).await
}

async fn send(
    client: &Client,
    request: http::request::Builder,
    object: &Value,
) -> Result<Value, String> {
    match client.request(request.body(object.to_string().into_bytes()).unwrap()).await {
        Ok(object) => Ok(object),
        Err(kube::Error::Api(status)) if is_refusal(&status) => Err(status.message.clone()),
        Err(error) => panic!("an API server answers {error:?} to {object}"),
    }
}

/// Where kubectl would send an object to.
pub(crate) fn collection(object: &Value) -> String {
    let version = object["apiVersion"].as_str().unwrap();
    let root = if version.contains('/') { "apis" } else { "api" };
    let (group, _) = version.rsplit_once('/').unwrap_or(("", version));
    let kind = FileKind::of(group, object["kind"].as_str().unwrap()).unwrap();
    let namespace = match object["metadata"]["namespace"].as_str() {
        _ if kind.cluster_scoped() => String::new(),
        None | Some("") => "/namespaces/default".to_owned(),
        Some(namespace) => format!("/namespaces/{}", escaped(namespace)),
    };
    format!("/{root}/{version}{namespace}/{}", kind.plural())
}

fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let escape = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    text.bytes().map(escape).collect()
}

/// Whether the object is to blame. Of one with a field that is unknown server-side apply says no better.
fn is_refusal(status: &kube::core::Status) -> bool {
    status.code < 500 || status.message.starts_with("failed to create typed patch object")
}
