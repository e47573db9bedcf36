//! [`TrustBundle`] on the wire. Its name is its trust domain.

use bytes::Bytes;
use isthmus_ir::{Name, TrustBundle};

use super::{
    Refusal,
    read::{features, filled, message, owned, parsed},
};
use crate::proto::proxy;

pub(super) fn encode(bundle: &TrustBundle) -> proxy::TrustBundle {
    let TrustBundle { trust_domain: _, roots } = bundle;
    proxy::TrustBundle { roots: roots.clone(), requires: Vec::new() }
}

pub(super) fn decode(name: &Name, value: &Bytes) -> Result<TrustBundle, Refusal> {
    let bundle: proxy::TrustBundle = message(value)?;
    features(&bundle.requires)?;
    let trust_domain = parsed("name", name.as_str())?;
    Ok(TrustBundle { trust_domain, roots: owned(&filled("roots", bundle.roots)?) })
}
