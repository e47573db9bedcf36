//! Where and as what an operator runs: what its chart tells it by its environment. A program beside it reads
//! the same from the operator's Deployment.

use isthmus_crds::names::NAMESPACE;
use kube::{Api, Client, api::ListParams, core::DynamicObject};
use serde_json::Value;

use crate::object;

/// The name of the operator's Deployment.
pub const OPERATOR: &str = "isthmus-operator";
/// The labels of the operator's Deployment, as its chart gives them.
pub const SELECTOR: &str = "app.kubernetes.io/part-of=isthmus,app.kubernetes.io/component=operator";

/// The variable with the image of the control plane, without a tag.
pub const IMAGE: &str = "ISTHMUS_IMAGE";
/// The variable with the image of the proxy, without a tag.
pub const PROXY_IMAGE: &str = "ISTHMUS_PROXY_IMAGE";
/// The variable with the tag of both.
pub const TAG: &str = "ISTHMUS_TAG";
/// The variable that says when images are fetched.
pub const PULL_POLICY: &str = "ISTHMUS_PULL_POLICY";
/// The variable with the names of Secrets by which images are fetched, with commas between them.
pub const PULL_SECRETS: &str = "ISTHMUS_PULL_SECRETS";

/// Where and as what an operator runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The namespace of the mesh's own parts.
    pub namespace: String,
    /// The operator's version: that of the definitions that it installs.
    pub version: String,
    /// The tag of the images, unless a MeshInstall says otherwise.
    pub tag: String,
    /// The image of the control plane, without a tag.
    pub image: String,
    /// The image of the proxy, without a tag.
    pub proxy_image: String,
    /// How nodes come by images.
    pub pull: Pull,
}

/// How nodes come by images.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pull {
    /// When they fetch one: `Always`, `IfNotPresent` or `Never`.
    pub policy: String,
    /// The names of Secrets with credentials of registries, in the namespace of the pods.
    pub secrets: Vec<String>,
}

impl Default for Pull {
    fn default() -> Self {
        Self { policy: "IfNotPresent".to_owned(), secrets: Vec::new() }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self {
            namespace: NAMESPACE.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            tag: env!("CARGO_PKG_VERSION").to_owned(),
            image: "isthmus.dev/isthmus".to_owned(),
            proxy_image: "isthmus.dev/proxy".to_owned(),
            pull: Pull::default(),
        }
    }
}

impl Place {
    /// That of the operator in this Deployment.
    pub fn of(operator: &DynamicObject) -> Self {
        let (meta, default) = (&operator.metadata, Self::default());
        let tag = variable(operator, TAG).or_else(|| tag(operator)).unwrap_or(default.tag);
        let secrets = variable(operator, PULL_SECRETS).unwrap_or_default();
        Self {
            namespace: meta.namespace.clone().unwrap_or(default.namespace),
            version: default.version,
            tag,
            image: variable(operator, IMAGE).unwrap_or(default.image),
            proxy_image: variable(operator, PROXY_IMAGE).unwrap_or(default.proxy_image),
            pull: Pull {
                policy: variable(operator, PULL_POLICY).unwrap_or(default.pull.policy),
                secrets: secrets.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            },
        }
    }

    /// That of the cluster's operator, in whatever namespace it is; the default where there is none, or
    /// where it may not be seen.
    ///
    /// # Errors
    /// When the API server does not answer.
    pub async fn find(client: &Client) -> kube::Result<Self> {
        let all: Api<DynamicObject> = Api::all_with(client.clone(), &object::DEPLOYMENT.resource());
        let found = match all.list(&ListParams::default().labels(SELECTOR)).await {
            Err(kube::Error::Api(status)) if status.code == 403 => return Ok(Self::default()),
            found => found?,
        };
        let named = |found: &&DynamicObject| found.metadata.name.as_deref() == Some(OPERATOR);
        Ok(found.items.iter().find(named).map(Self::of).unwrap_or_default())
    }
}

/// A variable of the operator's container.
fn variable(operator: &DynamicObject, name: &str) -> Option<String> {
    let all = operator.data.pointer("/spec/template/spec/containers/0/env").and_then(Value::as_array);
    let named = |variable: &&Value| variable.get("name").and_then(Value::as_str) == Some(name);
    all?.iter().find(named)?.get("value")?.as_str().map(str::to_owned)
}

/// The tag of the operator's own image.
fn tag(operator: &DynamicObject) -> Option<String> {
    let image = operator.data.pointer("/spec/template/spec/containers/0/image")?.as_str()?;
    let (_, tag) = image.rsplit_once(':')?;
    (!tag.contains('/')).then(|| tag.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Place, Pull};

    fn operator(image: &str, env: &Value) -> Place {
        let container = json!({ "image": image, "env": env });
        let spec = json!({ "template": { "spec": { "containers": [container] } } });
        let meta = json!({ "name": "isthmus-operator", "namespace": "elsewhere" });
        let object = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec,
        });
        Place::of(&serde_json::from_value(object).unwrap())
    }

    #[test]
    fn an_operator_is_told_where_it_is_by_its_environment() {
        let told = operator(
            "registry.example:5000/isthmus:1.2.3",
            &json!([
                { "name": "POD_NAME", "valueFrom": {} },
                { "name": "ISTHMUS_IMAGE", "value": "registry.example:5000/isthmus" },
                { "name": "ISTHMUS_PROXY_IMAGE", "value": "registry.example:5000/proxy" },
                { "name": "ISTHMUS_TAG", "value": "1.2.3" },
                { "name": "ISTHMUS_PULL_POLICY", "value": "Always" },
                { "name": "ISTHMUS_PULL_SECRETS", "value": "one,two" },
            ]),
        );
        let expected = Place {
            namespace: "elsewhere".to_owned(),
            tag: "1.2.3".to_owned(),
            image: "registry.example:5000/isthmus".to_owned(),
            proxy_image: "registry.example:5000/proxy".to_owned(),
            pull: Pull {
                policy: "Always".to_owned(),
                secrets: vec!["one".to_owned(), "two".to_owned()],
            },
            ..Place::default()
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn what_an_operator_is_not_told_is_the_default() {
        let elsewhere = Place { namespace: "elsewhere".to_owned(), ..Place::default() };
        assert_eq!(operator("registry.example:5000/isthmus", &json!([])), elsewhere);
        let tagged = operator("registry.example:5000/isthmus:9", &Value::Null);
        assert_eq!(tagged, Place { tag: "9".to_owned(), ..elsewhere });
    }
}
