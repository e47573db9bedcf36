//! Which version of a kind an API server has, and whether it lets us read it.

use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};

/// A kind that an API server may have.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Resource {
    /// Its group; empty for the core group.
    pub group: String,
    /// The versions that are understood, the preferred one first.
    pub versions: Vec<String>,
    /// Its name, such as `HTTPRoute`.
    pub kind: String,
}

/// What an API server says of a kind.
#[derive(Clone, PartialEq, Debug)]
pub enum Found {
    /// It has it, in this version.
    Served(ApiResource),
    /// It does not have it in any version that is understood.
    Absent,
}

/// Why nothing is known of a kind.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// We may not read it. The text says what is missing.
    #[error("{0}")]
    Forbidden(String),
    /// The API server cannot be reached, or fails: try again.
    #[error("the API server does not answer")]
    Unreachable(#[source] Box<kube::Error>),
}

/// Finds out which version of `resource` is served, and whether its objects may be read: those of
/// `namespace`, or of all. `fields` is a field selector, which may be what makes it permitted.
///
/// # Errors
/// When it may not be read, or the API server does not answer.
pub async fn find(
    client: &Client,
    resource: &Resource,
    namespace: Option<&str>,
    fields: Option<&str>,
) -> Result<Found, Trouble> {
    for version in &resource.versions {
        let Some(served) = served(client, resource, version).await? else { continue };
        let api: Api<DynamicObject> = api(client, &served, namespace);
        let mut one = ListParams::default().limit(1).match_any();
        one.field_selector = fields.map(str::to_owned);
        return match api.list_metadata(&one).await {
            Ok(_) => Ok(Found::Served(served)),
            Err(error) if code(&error) == Some(404) => continue,
            Err(error) => Err(trouble(error)),
        };
    }
    Ok(Found::Absent)
}

/// The objects of `served` in `namespace`, or in all.
pub(crate) fn api(client: &Client, served: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, served),
        None => Api::all_with(client.clone(), served),
    }
}

async fn served(
    client: &Client,
    resource: &Resource,
    version: &str,
) -> Result<Option<ApiResource>, Trouble> {
    let group_version = if resource.group.is_empty() {
        version.to_owned()
    } else {
        format!("{}/{version}", resource.group)
    };
    let listed = if resource.group.is_empty() {
        client.list_core_api_resources(version).await
    } else {
        client.list_api_group_resources(&group_version).await
    };
    let listed = match listed {
        Ok(listed) => listed,
        Err(error) if code(&error) == Some(404) => return Ok(None),
        Err(error) => return Err(trouble(error)),
    };
    let main = |name: &str| !name.contains('/');
    let found = listed.resources.into_iter().find(|r| r.kind == resource.kind && main(&r.name));
    Ok(found.map(|found| ApiResource {
        group: resource.group.clone(),
        version: version.to_owned(),
        api_version: group_version,
        kind: resource.kind.clone(),
        plural: found.name,
    }))
}

/// What kind of trouble an error is.
pub(crate) fn trouble(error: kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) if matches!(status.code, 401 | 403) => {
            Trouble::Forbidden(status.message)
        }
        error => Trouble::Unreachable(Box::new(error)),
    }
}

/// The HTTP status with which an API server answered.
pub(crate) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
