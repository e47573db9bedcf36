//! Who a proxy of this machine is: by the token that its process was started with, and by nothing that it
//! says (cases E7, E8, D17).
//!
//! A token is made for one process, is handed to it in its environment, and is void when it ends.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use isthmus_ir::{Name, Redacted, SpiffeId};
use isthmus_xds::{
    ca::{Issue, Issued},
    server::{Authenticate, Caller, Denied, Proxy},
};
use sha2::{Digest, Sha256};

use crate::ca::Authority;

/// What a token stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bearer {
    /// The proxy.
    pub proxy: Proxy,
    /// The identity that its certificates get.
    pub identity: SpiffeId,
}

/// The tokens of running proxies. Cloning copies a pointer.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// By digest, so that looking one up tells nothing of another by its timing.
    bearers: Arc<RwLock<HashMap<[u8; 32], Bearer>>>,
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Tokens {
    /// A new token for `bearer`.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn make(&self, bearer: Bearer) -> Result<Redacted<String>, getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let token = BASE64_URL_SAFE_NO_PAD.encode(bytes);
        self.admit(&token, bearer);
        Ok(Redacted::new(token))
    }

    /// Takes a token that was made before a restart.
    pub fn admit(&self, token: &str, bearer: Bearer) {
        self.bearers.write().unwrap_or_else(PoisonError::into_inner).insert(digest(token), bearer);
    }

    /// Voids every token of a proxy.
    pub fn revoke(&self, proxy: &Name) {
        let mut bearers = self.bearers.write().unwrap_or_else(PoisonError::into_inner);
        bearers.retain(|_, bearer| bearer.proxy.id != *proxy);
    }

    fn bearer(&self, caller: Caller<'_>) -> Result<Bearer, Denied> {
        let token = caller.bearer.ok_or_else(|| Denied("a token is required".to_owned()))?;
        let bearers = self.bearers.read().unwrap_or_else(PoisonError::into_inner);
        let bearer = bearers.get(&digest(token)).cloned();
        bearer.ok_or_else(|| Denied("the token is of no proxy that runs here".to_owned()))
    }
}

impl Authenticate for Tokens {
    async fn authenticate(&self, caller: Caller<'_>) -> Result<Proxy, Denied> {
        self.bearer(caller).map(|bearer| bearer.proxy)
    }
}

/// Issues certificates to bearers of tokens.
pub struct TokenIssuer {
    /// Who asks.
    pub tokens: Tokens,
    /// Who signs.
    pub authority: Arc<Authority>,
}

impl Issue for TokenIssuer {
    async fn issue(&self, caller: Caller<'_>, csr: Bytes) -> Result<Issued, Denied> {
        let bearer = self.tokens.bearer(caller)?;
        let leaf = self.authority.issue(&bearer.identity, &csr, now());
        let leaf = leaf.map_err(|error| {
            let proxy = &bearer.proxy.id;
            tracing::warn!(%proxy, error = &error as &dyn std::error::Error, "certificate not issued");
            Denied(error.to_string())
        })?;
        Ok(Issued {
            chain: vec![leaf.certificate],
            not_after: leaf.not_after,
            trust_domain: self.authority.trust_domain().clone(),
            roots: self.authority.roots(),
        })
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().cast_signed()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use isthmus_ir::SpiffeId;
    use isthmus_xds::{
        ca::Issue as _,
        server::{Authenticate as _, Caller, Proxy, Role},
    };
    use x509_parser::prelude::*;

    use super::{Bearer, TokenIssuer, Tokens, now};
    use crate::ca::Authority;

    fn bearer(name: &str) -> Bearer {
        let identity: SpiffeId = format!("spiffe://east.example/ns/shop/sa/{name}").parse().unwrap();
        let scope = format!("gateway/shop/{name}").into();
        Bearer { proxy: Proxy { id: name.into(), scope, role: Role::Ingress }, identity }
    }

    #[tokio::test]
    async fn e7_only_a_token_of_a_running_proxy_counts() {
        let tokens = Tokens::default();
        let extensions = http::Extensions::new();
        let caller = |bearer| Caller { bearer, extensions: &extensions };
        let (edge, other) =
            (tokens.make(bearer("edge")).unwrap(), tokens.make(bearer("other")).unwrap());
        assert_ne!(edge.expose(), other.expose());
        let proxy = tokens.authenticate(caller(Some(edge.expose()))).await.unwrap();
        assert_eq!(proxy, bearer("edge").proxy);
        tokens.revoke(&"edge".into());
        tokens.authenticate(caller(Some(edge.expose()))).await.unwrap_err();
        tokens.authenticate(caller(Some(other.expose()))).await.unwrap();
        tokens.authenticate(caller(Some("guess"))).await.unwrap_err();
        tokens.authenticate(caller(None)).await.unwrap_err();
    }

    #[tokio::test]
    async fn d17_the_identity_comes_from_the_token() {
        let tokens = Tokens::default();
        let token = tokens.make(bearer("edge")).unwrap();
        let authority = Authority::generate("east.example".parse().unwrap(), now()).unwrap();
        let issuer = TokenIssuer { tokens, authority: Arc::new(authority) };
        let key = rcgen::KeyPair::generate().unwrap();
        let wish = rcgen::CertificateParams::new(vec!["spiffe.example".to_owned()]).unwrap();
        let csr = wish.serialize_request(&key).unwrap().der().to_vec();
        let extensions = http::Extensions::new();
        let ask = |bearer| issuer.issue(Caller { bearer, extensions: &extensions }, csr.clone().into());
        ask(None).await.unwrap_err();
        let answer = ask(Some(token.expose())).await.unwrap();
        let (_, leaf) = X509Certificate::from_der(&answer.chain[0]).unwrap();
        let names = &leaf.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(*names, [GeneralName::URI("spiffe://east.example/ns/shop/sa/edge")]);
    }
}
