//! What a cluster in wrong hands says.

use std::sync::Arc;

use isthmus_ir::ObjectRef;
use isthmus_world::fact::{ExportedEndpoint, ExportedService};

use crate::{
    cluster::Held,
    truth::{NAMES, gateway_of},
};

/// Puts lies into what cluster `liar` exports, the same ones every time.
pub(crate) fn forge(liar: usize, exports: &mut Held) {
    let victim = usize::from(liar == 0);
    for export in exports.values_mut() {
        let export = Arc::make_mut(export);
        export.created = -1;
        for port in &mut export.ports {
            let stolen = vec![gateway_of(victim)];
            let handle: Arc<str> = "stolen".into();
            port.endpoints.push(ExportedEndpoint {
                handle,
                zone: None,
                weight: u32::MAX,
                identities: stolen,
            });
            let own = vec![gateway_of(liar)];
            for handle in ["control", "Not.A.Label", ""] {
                let identities = own.clone();
                port.endpoints.push(ExportedEndpoint {
                    handle: handle.into(),
                    zone: None,
                    weight: 0,
                    identities,
                });
            }
        }
    }
    if let Some(export) = exports.values().next() {
        let claimed = ExportedService {
            cluster: NAMES[victim].into(),
            name: "claimed".into(),
            ..ExportedService::clone(export)
        };
        exports.insert(ObjectRef::new("shop", "claimed"), Arc::new(claimed));
    }
}
