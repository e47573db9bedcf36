//! What a cluster is known by, from its first start on: its names, its CA, and what its handles are made from.
//!
//! What cannot be understood is treated by what its loss would do. A CA is never made anew in place of one
//! that is there: no peer would believe this cluster any more. A new handle key is bearable: peers learn the
//! new names over their streams, and requests by old ones are refused at once and made again elsewhere. The
//! names are in the manifests too, and the root says the trust domain.

use std::path::Path;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use isthmus_east_west::handle::HandleKey;
use serde::{Deserialize, Serialize};

use super::{InstanceError, file};
use crate::{
    ca::{Authority, StoredAuthority},
    settings::Settings,
    state_dir::StateDir,
    tokens::now,
};

const CLUSTER: &str = "cluster.json";
const AUTHORITY: &str = "ca.json";
const HANDLES: &str = "handles.json";

/// Who a state directory belongs to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterIdentity {
    /// The cluster's id.
    pub cluster: String,
    /// Its trust domain.
    pub trust_domain: String,
}

/// Makes the state directory this cluster's, or checks that it is.
pub(super) fn claim(state: &StateDir, path: &Path, settings: &Settings) -> Result<(), InstanceError> {
    let declared = ClusterIdentity {
        cluster: settings.cluster.as_ref().to_owned(),
        trust_domain: settings.trust_domain.to_string(),
    };
    match state.load::<ClusterIdentity>(CLUSTER).map_err(file(CLUSTER))? {
        None => state.store(CLUSTER, &declared).map_err(file(CLUSTER)),
        Some(kept) if kept == declared => Ok(()),
        Some(kept) => Err(InstanceError::AnotherCluster { path: path.to_owned(), kept, declared }),
    }
}

/// This cluster's CA, made at its first start.
pub(super) fn authority(state: &StateDir, settings: &Settings) -> Result<Authority, InstanceError> {
    let unusable = |why| InstanceError::Authority(state.path(AUTHORITY), why);
    let Some(bytes) = state.read(AUTHORITY).map_err(file(AUTHORITY))? else {
        let authority = Authority::generate(settings.trust_domain.clone(), now())?;
        state.store(AUTHORITY, &authority.store()).map_err(file(AUTHORITY))?;
        return Ok(authority);
    };
    // What the parser says may quote the key.
    let broken = |e: serde_json::Error| {
        unusable(format!("it makes no sense at line {}, column {}", e.line(), e.column()).into())
    };
    let stored: StoredAuthority = serde_json::from_slice(&bytes).map_err(broken)?;
    Authority::restore(settings.trust_domain.clone(), &stored).map_err(|error| unusable(error.into()))
}

/// What names of handles are made from.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct StoredKey([u8; 32]);

impl From<StoredKey> for String {
    fn from(key: StoredKey) -> Self {
        BASE64_STANDARD.encode(key.0)
    }
}

impl TryFrom<String> for StoredKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = BASE64_STANDARD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or("it is not 32 bytes in base64")
    }
}

/// What names of handles are made from, the same for as long as the state directory lives.
pub(super) fn handle_key(state: &StateDir) -> Result<HandleKey, InstanceError> {
    if let Some(StoredKey(bytes)) = state.load(HANDLES).map_err(file(HANDLES))? {
        return Ok(HandleKey::new(bytes));
    }
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(InstanceError::Random)?;
    state.store(HANDLES, &StoredKey(bytes)).map_err(file(HANDLES))?;
    Ok(HandleKey::new(bytes))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use expect_test::expect;
    use isthmus_ir::ObjectRef;
    use serde_json::json;
    use tempfile::TempDir;

    use super::{AUTHORITY, CLUSTER, HANDLES, InstanceError, authority, claim, handle_key};
    use crate::{causes::with_causes, settings::Settings, state_dir::StateDir};

    fn opened() -> (TempDir, StateDir) {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDir::open(directory.path()).unwrap();
        (directory, state)
    }

    fn settings(cluster: &str) -> Settings {
        let spec = json!({"cluster": {"id": cluster, "trustDomain": "one.example"}});
        Settings::of(Some(&json!({ "spec": spec }))).unwrap()
    }

    /// The error and its causes, without the path of the state directory.
    fn said(state: &StateDir, error: &InstanceError) -> String {
        with_causes(error).replace(&state.path("").display().to_string(), "STATE/")
    }

    #[test]
    fn a_ca_that_cannot_be_understood_is_an_error_and_stays_where_it_is() {
        let (_directory, state) = opened();
        authority(&state, &settings("east")).unwrap();
        let whole = fs::read(state.path(AUTHORITY)).unwrap();
        fs::write(state.path(AUTHORITY), &whole[..whole.len() / 2]).unwrap();
        for _ in 0..2 {
            let error = authority(&state, &settings("east")).err().unwrap();
            let text = said(&state, &error);
            let (what, why) = text.rsplit_once(": ").unwrap();
            expect!["the CA in STATE/ca.json cannot be used: restore the file from a backup, or remove it to become a new cluster, which every peer has to be joined with again"].assert_eq(what);
            assert!(why.starts_with("it makes no sense at line "), "{why}");
        }
        fs::write(state.path(AUTHORITY), r#"{"key": "secret", "root": "AAAA"}"#).unwrap();
        let error = authority(&state, &settings("east")).err().unwrap();
        assert!(matches!(&error, InstanceError::Authority(..)));
        fs::write(state.path(AUTHORITY), whole).unwrap();
        authority(&state, &settings("east")).unwrap();
    }

    #[test]
    fn d18_what_is_said_of_a_broken_ca_quotes_no_key() {
        let (_directory, state) = opened();
        for text in [r#""hidden-key""#, r#"{"key": {"hidden-key": 1}}"#, r#"{"hidden-key": "#] {
            fs::write(state.path(AUTHORITY), text).unwrap();
            let error = authority(&state, &settings("east")).err().unwrap();
            assert!(!said(&state, &error).contains("hidden"), "{}", said(&state, &error));
        }
    }

    #[test]
    fn a_handle_key_that_cannot_be_understood_is_set_aside_for_a_new_one() {
        let (_directory, state) = opened();
        let name =
            |state: &StateDir| handle_key(state).unwrap().service(&ObjectRef::new("shop", "cart"), 80);
        let first = name(&state);
        assert_eq!(first, name(&state));
        for broken in ["\"c2hvcnQ=\"", "\"half"] {
            let before = name(&state);
            fs::write(state.path(HANDLES), broken).unwrap();
            let after = name(&state);
            assert_ne!(before, after);
            assert_eq!(after, name(&state));
        }
        let kept = fs::read_dir(state.path("")).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(kept.into_iter().any(|n| n.to_string_lossy().starts_with("handles.json.corrupt-")));
    }

    #[test]
    fn a_state_directory_is_of_one_cluster() {
        let (directory, state) = opened();
        let claimed = |cluster| claim(&state, directory.path(), &settings(cluster));
        claimed("east").unwrap();
        claimed("east").unwrap();
        assert!(matches!(claimed("west"), Err(InstanceError::AnotherCluster { .. })));
        fs::write(state.path(CLUSTER), "{").unwrap();
        claimed("east").unwrap();
    }
}
