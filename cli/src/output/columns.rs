//! The columns of each kind: those that an API server would print, with what it says of routes added.
//!
//! Kinds with a definition of ours have theirs from its printer columns.

use isthmus_control_plane::files::document::timestamp;
use isthmus_crds::Definition;
use serde_json::Value;

use super::{
    Table,
    value::{condition, list, shown, text},
};

/// What a table of objects is to show.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The kind as Kubernetes writes it.
    pub(crate) kind: &'a str,
    /// Whether to show the namespace.
    pub(crate) namespaces: bool,
    /// What to put before names: `httproute/` where several kinds are shown.
    pub(crate) prefix: &'a str,
    /// More columns.
    pub(crate) wide: bool,
    /// Now, in seconds since 1970.
    pub(crate) now: i64,
}

/// A column: its name, whether it is shown only when wide, and its cell.
type Column = (String, bool, Box<dyn Fn(&Value) -> String>);

/// The table of `objects`.
pub(crate) fn table(objects: &[Value], view: View<'_>) -> Table {
    let columns: Vec<Column> =
        columns(view.kind).into_iter().filter(|(_, wide, _)| view.wide || !wide).collect();
    let mut head = Vec::new();
    if view.namespaces {
        head.push("NAMESPACE".to_owned());
    }
    head.push("NAME".to_owned());
    head.extend(columns.iter().map(|(name, ..)| name.clone()));
    head.push("AGE".to_owned());
    let mut table = Table::new(&head);
    for object in objects {
        let mut row = Vec::new();
        if view.namespaces {
            row.push(text(object, "/metadata/namespace").to_owned());
        }
        row.push(format!("{}{}", view.prefix, text(object, "/metadata/name")));
        row.extend(columns.iter().map(|(_, _, cell)| cell(object)));
        row.push(age(object, view.now));
        table.row(row);
    }
    table
}

fn columns(kind: &str) -> Vec<Column> {
    let narrow = |name: &str, cell: fn(&Value) -> String| column(name, false, cell);
    let wide = |name: &str, cell: fn(&Value) -> String| column(name, true, cell);
    match kind {
        "GatewayClass" => vec![
            narrow("CONTROLLER", |o| text(o, "/spec/controllerName").to_owned()),
            narrow("ACCEPTED", |o| own_condition(o, "Accepted")),
            wide("DESCRIPTION", |o| text(o, "/spec/description").to_owned()),
        ],
        "Gateway" => vec![
            narrow("CLASS", |o| text(o, "/spec/gatewayClassName").to_owned()),
            narrow("ADDRESS", |o| joined(list(o, "/status/addresses"), "/value")),
            narrow("PROGRAMMED", |o| own_condition(o, "Programmed")),
            wide("ACCEPTED", |o| own_condition(o, "Accepted")),
            wide("LISTENERS", listeners),
            wide("ROUTES", |o| attached_routes(o).to_string()),
        ],
        "HTTPRoute" => vec![
            // As kubectl has lists: JSON, and nothing for none.
            narrow("HOSTNAMES", |o| o.pointer("/spec/hostnames").map(shown).unwrap_or_default()),
            narrow("ACCEPTED", |o| route_condition(o, "Accepted")),
            narrow("PROGRAMMED", |o| route_condition(o, "isthmus.dev/Programmed")),
            wide("RESOLVED", |o| route_condition(o, "ResolvedRefs")),
            wide("PARENTS", |o| joined(list(o, "/spec/parentRefs"), "/name")),
        ],
        "ReferenceGrant" => vec![
            wide("FROM", |o| joined(list(o, "/spec/from"), "/namespace")),
            wide("TO", |o| joined(list(o, "/spec/to"), "/kind")),
        ],
        "BackendTLSPolicy" => vec![narrow("TARGETS", |o| joined(list(o, "/spec/targetRefs"), "/name"))],
        "Namespace" => vec![narrow("STATUS", |_| "Active".to_owned())],
        "Service" => vec![
            narrow("TYPE", |o| or(text(o, "/spec/type"), "ClusterIP")),
            narrow("CLUSTER-IP", |o| or(text(o, "/spec/clusterIP"), "<none>")),
            narrow("PORT(S)", ports),
        ],
        "EndpointSlice" => vec![
            narrow("ADDRESSTYPE", |o| text(o, "/addressType").to_owned()),
            narrow("PORTS", |o| joined(list(o, "/ports"), "/port")),
            narrow("ENDPOINTS", endpoints),
        ],
        "Secret" => vec![
            narrow("TYPE", |o| or(text(o, "/type"), "Opaque")),
            narrow("DATA", |o| {
                o.get("data").and_then(Value::as_object).map_or(0, serde_json::Map::len).to_string()
            }),
        ],
        kind => own_columns(kind),
    }
}

fn column(name: &str, wide: bool, cell: fn(&Value) -> String) -> Column {
    (name.to_owned(), wide, Box::new(cell))
}

/// The printer columns of a definition of ours; the age is in every table anyway.
fn own_columns(kind: &str) -> Vec<Column> {
    let of = |definition: &Definition| definition.resource.kind == kind;
    let Some(definition) = isthmus_crds::definitions().into_iter().find(of) else { return Vec::new() };
    let version = definition.crd.spec.versions.into_iter().next();
    let columns = version.and_then(|version| version.additional_printer_columns).unwrap_or_default();
    let columns = columns.into_iter().filter(|column| column.type_ != "date");
    columns
        .map(|column| {
            let cell = move |object: &Value| at_path(object, &column.json_path);
            (column.name, column.priority.is_some_and(|p| p > 0), Box::new(cell) as Box<_>)
        })
        .collect()
}

/// The scalars that a JSON path leads to, joined by commas. Of the path language, fields, `[*]` and
/// `[?(@.type=="X")]` are read, which is what the definitions use.
fn at_path(object: &Value, path: &str) -> String {
    let mut values = vec![object];
    let mut rest = path;
    while !rest.is_empty() {
        let step;
        (step, rest) = step_of(rest);
        values = values.into_iter().flat_map(|value| follow(value, step)).collect();
    }
    let cells: Vec<String> = values.into_iter().map(shown).collect();
    cells.join(",")
}

fn step_of(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('.').unwrap_or(path);
    if path.starts_with('[') {
        let end = path.find(']').map_or(path.len(), |at| at + 1);
        return path.split_at(end);
    }
    path.split_at(path.find(['.', '[']).unwrap_or(path.len()))
}

fn follow<'a>(value: &'a Value, step: &str) -> Vec<&'a Value> {
    if step == "[*]" {
        return value.as_array().into_iter().flatten().collect();
    }
    if let Some(filter) = step.strip_prefix("[?(@.").and_then(|rest| rest.strip_suffix(")]")) {
        let Some((field, wanted)) = filter.split_once("==") else { return Vec::new() };
        let wanted = wanted.trim_matches(['"', '\'']);
        let fits = |item: &&Value| item.get(field).and_then(Value::as_str) == Some(wanted);
        return value.as_array().into_iter().flatten().filter(fits).collect();
    }
    value.get(step).into_iter().collect()
}

fn own_condition(object: &Value, kind: &str) -> String {
    condition(object, "/status/conditions", kind).unwrap_or("Unknown").to_owned()
}

/// True when it is for every parent; without any parent there is nothing to say.
fn route_condition(route: &Value, kind: &str) -> String {
    let parents = list(route, "/status/parents");
    let mut statuses =
        parents.iter().map(|parent| condition(parent, "/conditions", kind).unwrap_or("Unknown"));
    let first_other = statuses.find(|status| *status != "True");
    first_other.unwrap_or(if parents.is_empty() { "Unknown" } else { "True" }).to_owned()
}

fn listeners(gateway: &Value) -> String {
    let one = |listener: &Value| {
        let port = listener.get("port").map(shown).unwrap_or_default();
        format!("{}:{port}", text(listener, "/protocol"))
    };
    list(gateway, "/spec/listeners").iter().map(one).collect::<Vec<_>>().join(",")
}

fn attached_routes(gateway: &Value) -> u64 {
    let count = |listener: &Value| listener.get("attachedRoutes").and_then(Value::as_u64);
    list(gateway, "/status/listeners").iter().filter_map(count).sum()
}

fn ports(service: &Value) -> String {
    let one = |port: &Value| {
        let number = port.get("port").map(shown).unwrap_or_default();
        format!("{number}/{}", or(text(port, "/protocol"), "TCP"))
    };
    list(service, "/spec/ports").iter().map(one).collect::<Vec<_>>().join(",")
}

fn endpoints(slice: &Value) -> String {
    const SHOWN: usize = 3;
    let addresses: Vec<&str> = list(slice, "/endpoints")
        .iter()
        .flat_map(|endpoint| list(endpoint, "/addresses"))
        .filter_map(Value::as_str)
        .collect();
    match addresses.get(..SHOWN) {
        None if addresses.is_empty() => "<none>".to_owned(),
        Some(first) if addresses.len() > SHOWN => {
            format!("{} + {} more...", first.join(","), addresses.len() - SHOWN)
        }
        _ => addresses.join(","),
    }
}

fn joined(of: &[Value], pointer: &str) -> String {
    of.iter().filter_map(|item| item.pointer(pointer)).map(shown).collect::<Vec<_>>().join(",")
}

fn or(text: &str, otherwise: &str) -> String {
    if text.is_empty() { otherwise } else { text }.to_owned()
}

fn age(object: &Value, now: i64) -> String {
    let Some(created) = timestamp(text(object, "/metadata/creationTimestamp")) else {
        return "<unknown>".to_owned();
    };
    human((now - created).max(0))
}

/// A time as kubectl has it: two units at most, coarser with age.
fn human(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |big: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{big}{unit}"),
        small => format!("{big}{unit}{small}{small_unit}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => pair(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        _ => pair(days / 365, 'y', days % 365, 'd'),
    }
}

#[cfg(test)]
mod tests;
