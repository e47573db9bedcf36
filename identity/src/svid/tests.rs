//! What an SVID is, and who vouches for it.

use isthmus_ir::{TrustBundle, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::KeyUsage;

use super::{Untrusted, identity};
use crate::{Anchors, Bundles};

struct Ca {
    domain: TrustDomain,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

fn ca(domain: &str) -> Ca {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    Ca { domain: domain.parse().unwrap(), issuer }
}

fn leaf(uris: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = uris.iter().map(|u| SanType::URI((*u).try_into().unwrap())).collect();
    params
}

impl Ca {
    fn sign(&self, params: &CertificateParams) -> CertificateDer<'static> {
        params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().clone()
    }

    fn bundle(&self) -> TrustBundle {
        let root = self.issuer.der().to_vec().into();
        TrustBundle { trust_domain: self.domain.clone(), roots: vec![root] }
    }
}

const ID: &str = "spiffe://east.example/ns/shop/sa/cart";

#[test]
fn d1_an_svid_has_one_uri_which_is_a_spiffe_id() {
    let ca = ca("east.example");
    assert_eq!(identity(&ca.sign(&leaf(&[ID]))).unwrap().to_string(), ID);
    let mut named = leaf(&[ID]);
    named.subject_alt_names.push(SanType::DnsName("cart.shop".try_into().unwrap()));
    assert_eq!(identity(&ca.sign(&named)).unwrap().to_string(), ID);
    assert_eq!(identity(&ca.sign(&leaf(&[ID, ID]))), Err(Untrusted::UriCount(2)));
    assert_eq!(identity(&ca.sign(&leaf(&[]))), Err(Untrusted::UriCount(0)));
    for bad in [
        "spiffe://east.example/ns/shop/sa/cart/",
        "spiffe://east.example:443/ns/shop/sa/cart",
        "spiffe://east.example/ns/shop/sa/cart\0.evil",
        "spiffe://EAST.example/ns/shop/sa/cart",
        "spiffe://east.example/ns%2fshop",
        "spiffe://east.example",
        "https://east.example/ns/shop/sa/cart",
    ] {
        let refused = identity(&ca.sign(&leaf(&[bad])));
        assert!(matches!(refused, Err(Untrusted::Identity(_))), "{bad:?}: {refused:?}");
    }
}

#[test]
fn d2_a_leaf_that_may_sign_others_is_refused() {
    let ca = ca("east.example");
    let mut authority = leaf(&[ID]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    assert_eq!(identity(&ca.sign(&authority)), Err(Untrusted::Authority));
    let mut signs = leaf(&[ID]);
    signs.key_usages.push(KeyUsagePurpose::KeyCertSign);
    assert_eq!(identity(&ca.sign(&signs)), Err(Untrusted::Authority));
}

#[test]
fn what_is_no_certificate_is_malformed() {
    let leaf = ca("east.example").sign(&leaf(&[ID]));
    let longer = CertificateDer::from([leaf.as_ref(), b"x"].concat());
    assert_eq!(identity(&longer), Err(Untrusted::Malformed));
    for end in 0..leaf.len() {
        assert!(identity(&CertificateDer::from(&leaf[..end])).is_err());
    }
}

#[test]
fn d3_a_chain_ends_in_a_root_of_its_own_trust_domain() {
    let (east, west) = (ca("east.example"), ca("west.example"));
    let bundles = Bundles::new([&east.bundle(), &west.bundle()]).unwrap();
    let verify =
        |leaf: &CertificateDer<'_>| bundles.verify(leaf, &[], KeyUsage::client_auth(), UnixTime::now());
    assert_eq!(verify(&east.sign(&leaf(&[ID]))).unwrap().to_string(), ID);
    // West's CA issues an identity of east.
    let forged = verify(&west.sign(&leaf(&[ID])));
    assert!(matches!(forged, Err(Untrusted::Chain(_))), "{forged:?}");
    let unknown = east.sign(&leaf(&["spiffe://north.example/x"]));
    assert_eq!(verify(&unknown), Err(Untrusted::Domain("north.example".parse().unwrap())));
    // One domain's anchors say nothing of another domain, whoever signed.
    let anchors = Anchors::new(&west.domain, &west.bundle().roots).unwrap();
    let refused =
        anchors.verify(&west.sign(&leaf(&[ID])), &[], KeyUsage::client_auth(), UnixTime::now());
    assert_eq!(refused, Err(Untrusted::Domain("east.example".parse().unwrap())));
}

#[test]
fn a_chain_counts_for_its_use_and_its_time() {
    let east = ca("east.example");
    let bundles = Bundles::new([&east.bundle()]).unwrap();
    let client = east.sign(&leaf(&[ID]));
    let as_server = bundles.verify(&client, &[], KeyUsage::server_auth(), UnixTime::now());
    assert!(matches!(as_server, Err(Untrusted::Chain(_))), "{as_server:?}");
    let mut old = leaf(&[ID]);
    (old.not_before, old.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 1, 3));
    let expired = bundles.verify(&east.sign(&old), &[], KeyUsage::client_auth(), UnixTime::now());
    let Err(why @ Untrusted::Chain(_)) = expired else { panic!("{expired:?}") };
    let error = rustls::Error::from(why);
    assert_eq!(error, rustls::Error::InvalidCertificate(rustls::CertificateError::Expired));
}
