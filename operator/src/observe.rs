//! One look at a cluster, for who plans once and goes.

use std::sync::Arc;

use isthmus_api_server::{Found, Trouble, find};
use k8s_openapi::jiff::Timestamp;
use kube::{Api, Client, api::ListParams, core::DynamicObject};

use crate::{
    object::{self, Kind, ObjectKey},
    observed::{Observed, Place},
    place::OPERATOR,
    run::{trim, watched},
};

/// The operator's own Deployment.
pub fn operator(place: &Place) -> ObjectKey {
    ObjectKey::new(object::DEPLOYMENT, &place.namespace, OPERATOR)
}

/// Everything that a plan is made from, and the operator's Deployment.
///
/// # Errors
/// When the API server does not answer. What it does not let us read is not known, and named.
pub async fn observe(client: &Client, place: Place) -> Result<Observed, Trouble> {
    let operator = operator(&place);
    let mut observed = Observed::nothing(place, Timestamp::now());
    for (kind, watched) in watched() {
        let Found::Served(resource) = find(client, &watched.resource, None, None).await? else {
            observed.absent.insert(kind);
            continue;
        };
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
        let selection = ListParams { label_selector: watched.labels, ..ListParams::default() };
        let Some(list) = permitted(&mut observed, kind, api.list(&selection).await)? else { continue };
        for object in list.items {
            let key = ObjectKey::of(kind, &object);
            let object = object::typed(kind, trim(kind, object));
            observed.objects.insert(key, Arc::new(object));
        }
    }
    let deployments: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &operator.namespace, &object::DEPLOYMENT.resource());
    let found = deployments.get_opt(&operator.name).await;
    if let Some(found) = permitted(&mut observed, object::DEPLOYMENT, found)?.flatten() {
        observed.objects.insert(operator, Arc::new(object::typed(object::DEPLOYMENT, found)));
    }
    Ok(observed)
}

/// What was read of a kind; none when it may not be read, of which note is taken.
fn permitted<T>(
    observed: &mut Observed,
    kind: &'static Kind,
    read: kube::Result<T>,
) -> Result<Option<T>, Trouble> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(kube::Error::Api(status)) if status.code == 403 => {
            observed.unknown.insert(kind);
            observed.forbidden.insert(kind, status.message.clone());
            Ok(None)
        }
        Err(error) => Err(Trouble::Unreachable(Box::new(error))),
    }
}
