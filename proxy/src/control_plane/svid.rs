//! This proxy's own certificate: its key is made here and never leaves; the control plane signs.
//!
//! Renewed when a third of its life is over, on the monotonic clock, so that a proxy works for two thirds of
//! it without a control plane; sooner when the control plane refuses it. Key and chain are kept in the state
//! directory, readable by their owner only.

use std::{
    convert::Infallible,
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use isthmus_xds::{
    ca::{self, IssueError, Issued},
    client::{Connect, with_causes},
    tls::Credentials,
};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Line, state};
use crate::{
    Proxy,
    tls::{Svid, svid},
};

const FILE: &str = "svid";
/// Between attempts that fail.
const RETRY: Duration = Duration::from_secs(2);
const RETRY_MOST: Duration = Duration::from_mins(1);
/// However short a life is, it is not renewed more often.
const RENEW_LEAST: Duration = Duration::from_secs(1);
/// However often what was issued is refused, it is not renewed more often.
const REFUSED_LEAST: Duration = Duration::from_secs(30);

/// Why there is no new SVID.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("the key or the signing request cannot be made")]
    Request(#[from] rcgen::Error),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error("what was issued cannot be used")]
    Unusable(#[from] rustls::Error),
}

/// Keeps an SVID in force, for ever. It is asked for by `way`, and shown to the control plane by
/// `credentials`.
pub(super) async fn renew(
    proxy: &Arc<Proxy>,
    way: &Line<impl Connect>,
    credentials: Option<&Credentials>,
) -> Infallible {
    let show = |svid: Svid| {
        credentials.inspect(|credentials| credentials.show(Arc::clone(&svid)));
        proxy.show(svid);
    };
    let (mut wait, mut refused_wait) = (restore(proxy, show).unwrap_or_default(), Duration::ZERO);
    let (mut retry, mut said) = (RETRY, String::new());
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = refused(credentials, refused_wait) => {}
        }
        match request(proxy, way, show).await {
            Ok(life) => {
                (retry, said) = (RETRY, String::new());
                (wait, refused_wait) = ((life / 3).max(RENEW_LEAST), REFUSED_LEAST);
            }
            Err(error) => {
                let reason = with_causes(&error);
                // It is tried again and again, and said once until it changes.
                if reason != said {
                    tracing::warn!(reason, "no SVID was issued");
                }
                said = reason;
                (wait, refused_wait) = (retry, retry);
                retry = (retry * 2).min(RETRY_MOST);
            }
        }
    }
}

/// Waits until the SVID is refused, and for `wait` at least.
async fn refused(credentials: Option<&Credentials>, wait: Duration) {
    tokio::time::sleep(wait).await;
    match credentials {
        Some(credentials) => credentials.refused().await,
        None => std::future::pending().await,
    }
}

/// Asks for a certificate and puts it in force; how long it lives.
async fn request(
    proxy: &Proxy,
    way: &Line<impl Connect>,
    show: impl Fn(Svid),
) -> Result<Duration, Failed> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let csr = CertificateParams::default().serialize_request(&key)?;
    let issued = ca::request(&way.connect, &way.proof, csr.der().to_vec().into()).await?;
    let svid = svid(&issued.chain, &key.serialize_der())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let life = u64::try_from(issued.not_after).unwrap_or(0).saturating_sub(now);
    keep(proxy, &issued, &key);
    show(svid);
    tracing::info!(trust_domain = %issued.trust_domain, life_seconds = life, "SVID in force");
    Ok(Duration::from_secs(life))
}

/// Each part behind its length in four bytes, the key first.
fn keep(proxy: &Proxy, issued: &Issued, key: &KeyPair) {
    let Some(directory) = &proxy.settings().state_dir else { return };
    let key = key.serialize_der();
    let mut content = Vec::new();
    for part in std::iter::once(key.as_slice()).chain(issued.chain.iter().map(|der| &der[..])) {
        content.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        content.extend_from_slice(part);
    }
    if let Err(error) = state::write(directory, FILE, &content) {
        tracing::warn!(%error, "the SVID cannot be kept");
    }
}

/// Puts the kept SVID in force, if there is one that still lives; when it is to be renewed.
fn restore(proxy: &Proxy, show: impl Fn(Svid)) -> Option<Duration> {
    let directory = proxy.settings().state_dir.as_ref()?;
    let (svid, wait) = read(directory)?;
    show(svid);
    Some(wait)
}

fn read(directory: &Path) -> Option<(Svid, Duration)> {
    let content = fs::read(directory.join(FILE)).ok()?;
    let mut parts = Vec::new();
    let mut rest = content.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let (part, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        parts.push(part);
        rest = after;
    }
    let (key, chain) = parts.split_first()?;
    let chain: Vec<Bytes> = chain.iter().map(|der| Bytes::copy_from_slice(der)).collect();
    let wait = renewal(chain.first()?)?;
    Some((svid(&chain, key).ok()?, wait))
}

/// The time until a third of a leaf's life is over; none when all of it is.
fn renewal(leaf: &[u8]) -> Option<Duration> {
    let (_, leaf) = X509Certificate::from_der(leaf).ok()?;
    let (from, to) = (leaf.validity.not_before.timestamp(), leaf.validity.not_after.timestamp());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let now = i64::try_from(now).ok()?;
    if now >= to {
        return None;
    }
    let at = from + (to - from) / 3;
    Some(Duration::from_secs(u64::try_from(at - now).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};
    use rustls::pki_types::CertificateDer;

    use super::{FILE, read, renewal, state};

    #[test]
    fn a_kept_svid_is_read_back_until_it_ends() {
        let directory = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 1, 1);
        let leaf = params.clone().self_signed(&key).unwrap();
        let mut content = Vec::new();
        for part in [key.serialize_der(), leaf.der().to_vec()] {
            content.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
            content.extend_from_slice(&part);
        }
        state::write(directory.path(), FILE, &content).unwrap();
        let (svid, wait) = read(directory.path()).unwrap();
        assert_eq!(svid.cert, [CertificateDer::from(leaf.der().to_vec())]);
        assert!(wait.as_secs() > 0, "a third of its life is not over before 2046");
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let ended = params.self_signed(&key).unwrap();
        assert!(renewal(ended.der()).is_none());
    }

    #[test]
    fn d18_the_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        state::write(directory.path(), FILE, b"key").unwrap();
        let mode = std::fs::metadata(directory.path().join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
