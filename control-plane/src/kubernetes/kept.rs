//! What a cluster keeps of its CA: a Secret that only control planes read, made by whichever replica is the
//! first, and never made anew in place of one that is there.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use isthmus_api_server::Client;
use isthmus_crds::names::{AUTHORITY, OURS};
use isthmus_east_west::handle::HandleKey;
use k8s_openapi::{
    ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::OwnerReference,
};
use kube::{
    Api,
    api::{ObjectMeta, PostParams},
};
use tokio::time::{Duration, sleep};

use crate::{
    ca::{Authority, CaError, StoredAuthority},
    settings::Settings,
    tokens::now,
};

const CA: &str = "ca.json";
const HANDLES: &str = "handles";
/// Between two attempts to reach the API server.
const RETRY: Duration = Duration::from_secs(2);
/// Between two attempts to write, first and at most. Whoever comes second reads what the first wrote.
const AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// What was kept, or is from now on.
pub(super) struct Kept {
    pub(super) authority: Authority,
    pub(super) handles: HandleKey,
}

/// Why what is kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    /// It is there and makes no sense. A new one would cut off every proxy and peer.
    #[error(
        "Secret {namespace}/{AUTHORITY} cannot be used: restore it from a backup, or delete it to start with \
         a new root, which every proxy learns anew and every peer has to be joined with again"
    )]
    Unusable {
        /// Where it is.
        namespace: String,
        /// What is wrong with it; none when a part is missing.
        source: Option<CaError>,
    },
    /// A new CA cannot be made.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The system has no randomness.
    #[error("the system has no randomness: {0}")]
    Random(getrandom::Error),
}

/// Takes what is kept, or makes it. Waits for an API server that is away.
pub(super) async fn take(
    client: &Client,
    namespace: &str,
    settings: &Settings,
    owner: &OwnerReference,
) -> Result<Kept, KeptError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let mut again = AGAIN.0;
    loop {
        match secrets.get_opt(AUTHORITY).await {
            Ok(Some(secret)) => return restore(&secret, namespace, settings),
            Ok(None) => {
                let mut secret = fresh(settings)?;
                secret.metadata.owner_references = Some(vec![owner.clone()]);
                // Whoever is first wins, and everybody else reads what it wrote.
                if let Err(error) = secrets.create(&PostParams::default(), &secret).await {
                    not_written(&error, again);
                    sleep(again).await;
                    again = (again * 2).min(AGAIN.1);
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot read the CA, trying again"
                );
                sleep(RETRY).await;
            }
        }
    }
}

/// Says so, once for all attempts that follow.
fn not_written(error: &kube::Error, again: Duration) {
    let late = matches!(error, kube::Error::Api(status) if status.code == 409);
    let error = error as &dyn std::error::Error;
    if again == AGAIN.0 && !late {
        tracing::warn!(error, "the CA cannot be written, trying again");
    } else {
        tracing::debug!(error, ?again, "the CA was not written");
    }
}

fn restore(secret: &Secret, namespace: &str, settings: &Settings) -> Result<Kept, KeptError> {
    let unusable = |source| KeptError::Unusable { namespace: namespace.to_owned(), source };
    let part = |name: &str| secret.data.as_ref().and_then(|data| data.get(name));
    // What a parser says may quote the key.
    let stored: StoredAuthority = part(CA)
        .and_then(|bytes| serde_json::from_slice(&bytes.0).ok())
        .ok_or_else(|| unusable(None))?;
    let authority = Authority::restore(settings.trust_domain.clone(), &stored);
    let authority = authority.map_err(|error| unusable(Some(error)))?;
    let handles = part(HANDLES).and_then(|bytes| BASE64_STANDARD.decode(&bytes.0).ok());
    let handles = handles.and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| unusable(None))?;
    Ok(Kept { authority, handles: HandleKey::new(handles) })
}

fn fresh(settings: &Settings) -> Result<Secret, KeptError> {
    let authority = Authority::generate(settings.trust_domain.clone(), now())?;
    let mut handles = [0; 32];
    getrandom::fill(&mut handles).map_err(KeptError::Random)?;
    let ca = serde_json::to_vec(&authority.store()).unwrap_or_default();
    let data = [
        (CA.to_owned(), ByteString(ca)),
        (HANDLES.to_owned(), ByteString(BASE64_STANDARD.encode(handles).into_bytes())),
    ];
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(AUTHORITY.to_owned()),
            labels: Some([(OURS.0.to_owned(), OURS.1.to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some("isthmus.dev/ca".to_owned()),
        data: Some(data.into()),
        ..Secret::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CA, KeptError, fresh, restore};
    use crate::{causes::with_causes, settings::Settings};

    fn settings(domain: &str) -> Settings {
        let spec = json!({"cluster": {"id": "east", "trustDomain": domain}});
        Settings::of(Some(&json!({ "spec": spec }))).unwrap()
    }

    #[test]
    fn what_is_kept_is_the_same_authority() {
        let secret = fresh(&settings("one.example")).unwrap();
        let restored = || restore(&secret, "isthmus-system", &settings("one.example")).unwrap();
        assert_eq!(restored().authority.roots(), restored().authority.roots());
        let other = restore(&secret, "isthmus-system", &settings("two.example"));
        assert!(matches!(other, Err(KeptError::Unusable { .. })));
    }

    #[test]
    fn d18_what_is_said_of_a_broken_ca_quotes_no_key() {
        let mut secret = fresh(&settings("one.example")).unwrap();
        let data = secret.data.as_mut().unwrap();
        data.get_mut(CA).unwrap().0 = br#"{"key": {"hidden-key": 1}}"#.to_vec();
        let error = restore(&secret, "isthmus-system", &settings("one.example")).err().unwrap();
        assert!(!with_causes(&error).contains("hidden"));
    }
}
