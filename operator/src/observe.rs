//! One look at a cluster, for who plans once and goes.

use std::sync::Arc;

use isthmus_api_server::{Found, Trouble, Watched, find};
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
        match list(client, watched).await {
            Ok(None) => {
                observed.absent.insert(kind);
            }
            Ok(Some(objects)) => {
                for object in objects {
                    let key = ObjectKey::of(kind, &object);
                    let object = object::typed(kind, trim(kind, object));
                    observed.objects.insert(key, Arc::new(object));
                }
            }
            Err(trouble) => note(&mut observed, kind, trouble)?,
        }
    }
    let deployments: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &operator.namespace, &object::DEPLOYMENT.resource());
    match deployments.get_opt(&operator.name).await.map_err(trouble) {
        Ok(Some(found)) => {
            let found = object::typed(object::DEPLOYMENT, found);
            observed.objects.insert(operator, Arc::new(found));
        }
        Ok(None) => {}
        Err(trouble) => note(&mut observed, object::DEPLOYMENT, trouble)?,
    }
    Ok(observed)
}

/// The objects that are watched of a kind; none when the API server does not have it.
async fn list(client: &Client, watched: Watched) -> Result<Option<Vec<DynamicObject>>, Trouble> {
    let Found::Served(resource) = find(client, &watched.resource, None, None).await? else {
        return Ok(None);
    };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let selection = ListParams { label_selector: watched.labels, ..ListParams::default() };
    Ok(Some(api.list(&selection).await.map_err(trouble)?.items))
}

/// Takes note of a kind that may not be read; other trouble stays one.
fn note(observed: &mut Observed, kind: &'static Kind, trouble: Trouble) -> Result<(), Trouble> {
    let Trouble::Forbidden(why) = trouble else { return Err(trouble) };
    observed.unknown.insert(kind);
    observed.forbidden.insert(kind, why);
    Ok(())
}

fn trouble(error: kube::Error) -> Trouble {
    match error {
        kube::Error::Api(status) if status.code == 403 => Trouble::Forbidden(status.message.clone()),
        error => Trouble::Unreachable(Box::new(error)),
    }
}
