//! The checksum tells every difference.

use isthmus_east_west::checksum::{checksum, digest};
use isthmus_world::fact::{ExportedService, ImportType, SessionAffinity};

use crate::fixtures::{exported, exported_endpoint, gateway_of};

fn base() -> ExportedService {
    let mut base = exported("west", 5, &[("http", 80), ("admin", 81)]);
    base.ports[0].endpoints.push(exported_endpoint("west", "b"));
    base
}

#[test]
fn every_field_counts() {
    let edits: [fn(&mut ExportedService); 17] = [
        |e| e.cluster = "wes".into(),
        |e| e.namespace = "shopc".into(),
        |e| e.name = "art".into(),
        |e| e.created = 6,
        |e| e.kind = ImportType::Headless,
        |e| e.affinity = SessionAffinity::ClientIp,
        |e| e.ports.truncate(1),
        |e| e.ports.reverse(),
        |e| e.ports[0].name = String::new(),
        |e| e.ports[0].port = 90,
        |e| e.ports[0].protocol = "UDP".into(),
        |e| e.ports[0].app_protocol = Some(String::new()),
        |e| e.ports[0].fallback = e.ports[0].endpoints.pop(),
        |e| e.ports[0].endpoints[0].handle = "c".into(),
        |e| e.ports[0].endpoints[0].zone = Some("".into()),
        |e| e.ports[0].endpoints[0].weight = 2,
        |e| e.ports[0].endpoints[0].identities.push(gateway_of("east")),
    ];
    let mut seen = vec![digest(&base())];
    for (index, edit) in edits.into_iter().enumerate() {
        let mut edited = base();
        edit(&mut edited);
        let digest = digest(&edited);
        assert!(!seen.contains(&digest), "edit {index} is not seen");
        seen.push(digest);
    }
}

#[test]
fn sets_differ_by_what_is_in_them() {
    let (a, b) = (digest(&base()), digest(&exported("west", 6, &[])));
    let sums = [checksum([]), checksum([a]), checksum([b]), checksum([a, b])];
    for (i, sum) in sums.iter().enumerate() {
        assert!(!sums[i + 1..].contains(sum));
    }
}
