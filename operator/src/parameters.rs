//! How the proxies of one Gateway are run: by what its GatewayParameters say, then by what those of its class
//! say, and then by the revision, field by field.
//!
//! Whether a reference can be used is decided by the functions that the control plane has it from, which tells
//! it. A Gateway with one that cannot stays as it is.

use isthmus_crds::{Drain, GatewayParametersSpec, GatewayProxy, GatewayService, Revision};
use isthmus_gateway::parameters::{Known, fault_of_class, fault_of_gateway};

use crate::{
    object::{self, ObjectKey},
    observed::{Observed, SeenGateway},
};

/// For so long, in seconds, a proxy serves as before once it is to end, while nobody learns of it any longer.
const WAIT_SECONDS: u16 = 5;
/// For so long what is open may then take to finish.
const DEADLINE_SECONDS: u32 = 50;
/// For so long a proxy then may take to end.
const GRACE_SECONDS: u32 = 5;

/// What is asked for of the proxies of one Gateway, besides what it shares with all of a mesh.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Parameters {
    /// Its own, where they say something, and otherwise its class's.
    merged: GatewayParametersSpec,
    /// Whether its own say something that can keep pods from running.
    own_pods: bool,
}

impl Parameters {
    /// Those of a Gateway; none when a reference to some cannot be used.
    pub fn of(seen: &SeenGateway<'_>, observed: &Observed) -> Option<Self> {
        let gateway = seen.fact.as_ref()?;
        let class = observed.class(&gateway.class)?;
        let read = |named: Option<(String, String)>| {
            named.map(|(namespace, name)| read(&namespace, &name, observed)).unwrap_or_default()
        };
        let named = gateway.named_parameters().map(|object| (object.namespace, object.name));
        let (own, known) = read(named);
        let named = class.named_parameters().map(|object| (object.namespace, object.name));
        let (of_class, known_of_class) = read(named);
        if fault_of_gateway(gateway, &known).or(fault_of_class(&class, &known_of_class)).is_some() {
            return None;
        }
        let proxy = own.proxy.clone().unwrap_or_default();
        let harmless = GatewayProxy { access_log: proxy.access_log, ..GatewayProxy::default() };
        let own_pods = proxy != harmless;
        Some(Self { merged: own.or(&of_class), own_pods })
    }

    /// `revision` with what is asked for of the proxies.
    pub fn revision(&self, revision: &Revision) -> Revision {
        let mut revision = revision.clone();
        if let Some(proxy) = &self.merged.proxy {
            revision.proxy = proxy.over(&revision.proxy);
        }
        revision
    }

    /// Whether it says nothing of a revision that these proxies do not run: the Gateway's own parameters ask
    /// for an image, or for more than there may be room for.
    pub fn prove_nothing(&self) -> bool {
        self.own_pods
    }

    /// What is asked for of the Service.
    pub fn service(&self) -> GatewayService {
        self.merged.service.clone().unwrap_or_default()
    }

    /// For how long, in seconds, a proxy serves as before once it is to end, and how long what is open may
    /// then take.
    pub fn drain(&self) -> (u16, u32) {
        let Drain { wait_seconds, deadline_seconds } = self.merged.drain.clone().unwrap_or_default();
        (wait_seconds.unwrap_or(WAIT_SECONDS), deadline_seconds.unwrap_or(DEADLINE_SECONDS))
    }

    /// For how long, in seconds, a pod has to end.
    pub fn grace_seconds(&self) -> i64 {
        let (wait, deadline) = self.drain();
        (u32::from(wait) + deadline + GRACE_SECONDS).into()
    }
}

/// What GatewayParameters say, and what is known of them.
fn read(namespace: &str, name: &str, observed: &Observed) -> (GatewayParametersSpec, Known) {
    let key = ObjectKey::new(object::GATEWAY_PARAMETERS, namespace, name);
    let Some(found) = observed.object(&key) else { return <_>::default() };
    let spec = found.data.get("spec").cloned().map(serde_json::from_value);
    match spec.transpose() {
        Ok(spec) => (spec.unwrap_or_default(), Known::There),
        Err(why) => (GatewayParametersSpec::default(), Known::Unreadable(why.to_string())),
    }
}
