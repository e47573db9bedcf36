//! `isthmus get`: objects with their status, proxies and peers.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use isthmus_control_plane::socket::{Client, Listed, ProxyInfo, kinds, kinds::KindName};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Instance, peer};
use crate::{
    failure::Failure,
    output::{
        Table,
        columns::{self, View},
        print, print_json, print_yaml,
    },
};

/// Show objects with their status, or `proxies`, or `peers`.
#[derive(Args)]
pub(crate) struct Get {
    /// Kinds, with commas: `gateways`, `httproutes`, `svc`, ..., `proxies`, `peers`.
    #[arg(value_name = "KIND")]
    kinds: String,
    /// Only the one of this name.
    name: Option<String>,
    /// Namespace to look into.
    #[arg(short, long, default_value = "default", conflicts_with = "all_namespaces")]
    namespace: String,
    /// Look into all namespaces.
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Format.
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<Format>,
    #[command(flatten)]
    instance: Instance,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Json,
    Yaml,
    Wide,
}

/// What a kind on the command line stands for.
enum Wanted {
    Objects(KindName),
    Proxies,
    Peers,
}

impl Get {
    pub(crate) async fn run(self) -> Result<(), Failure> {
        let mut wanted = Vec::new();
        for kind in self.kinds.split(',') {
            wanted.push(Wanted::of(kind)?);
        }
        let client = self.instance.client();
        match wanted.as_slice() {
            [Wanted::Proxies] => self.proxies(client.proxies().await?),
            [Wanted::Peers] => {
                let peers = client.peers().await?;
                let peers = peers.into_iter().filter(|peer| self.is_wanted(&peer.name)).collect();
                self.list("peer", Listed { items: peers }, |peers| {
                    peer::table(peers, self.output == Some(Format::Wide))
                })
            }
            many => {
                let kinds = many.iter().map(|wanted| match wanted {
                    Wanted::Objects(kind) => Ok(kind),
                    _ => Err(Failure::Usage("proxies and peers are shown alone".to_owned())),
                });
                let kinds: Vec<&KindName> = kinds.collect::<Result<_, _>>()?;
                self.objects(&kinds, &client).await
            }
        }
    }

    fn is_wanted(&self, name: &str) -> bool {
        self.name.as_deref().is_none_or(|wanted| wanted == name)
    }

    async fn objects(&self, kinds: &[&KindName], client: &Client) -> Result<(), Failure> {
        let namespace = (!self.all_namespaces).then_some(&*self.namespace);
        let mut found = Vec::new();
        for kind in kinds {
            let namespace = namespace.filter(|_| kind.namespaced);
            let name = format!("{}.{}", kind.plural, kind.group);
            let objects =
                client.objects(name.trim_end_matches('.'), namespace, self.name.as_deref()).await?;
            found.push((*kind, objects));
        }
        match self.output {
            Some(Format::Json) => print_json(&self.answer(found)),
            Some(Format::Yaml) => print_yaml(&[self.answer(found)]),
            None | Some(Format::Wide) => self.tables(&found),
        }
    }

    /// One object when one was asked for by name, else a list, as kubectl has it.
    fn answer(&self, found: Vec<(&KindName, Vec<Value>)>) -> Value {
        let mut items: Vec<Value> = found.into_iter().flat_map(|(_, objects)| objects).collect();
        match (items.len(), &self.name) {
            (1, Some(_)) => items.swap_remove(0),
            _ => json!({"apiVersion": "v1", "kind": "List", "items": items}),
        }
    }

    fn tables(&self, found: &[(&KindName, Vec<Value>)]) -> Result<(), Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let several = found.len() > 1;
        let mut text = String::new();
        for (kind, objects) in found.iter().filter(|(_, objects)| !objects.is_empty()) {
            let prefix = format!("{}/", kind.kind.to_ascii_lowercase());
            let view = View {
                kind: &kind.kind,
                namespaces: self.all_namespaces && kind.namespaced,
                prefix: if several { &prefix } else { "" },
                wide: self.output == Some(Format::Wide),
                now: now.cast_signed(),
            };
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&columns::table(objects, view).to_string());
        }
        if text.is_empty() {
            self.nothing(found);
        }
        print(&text)
    }

    #[expect(clippy::print_stderr, reason = "it is no answer")]
    fn nothing(&self, found: &[(&KindName, Vec<Value>)]) {
        match (self.all_namespaces, found.iter().any(|(kind, _)| kind.namespaced)) {
            (false, true) => eprintln!("nothing found in namespace {}", self.namespace),
            _ => eprintln!("nothing found"),
        }
    }

    fn proxies(&self, proxies: Vec<ProxyInfo>) -> Result<(), Failure> {
        let proxies = proxies.into_iter().filter(|proxy| self.is_wanted(&proxy.name)).collect();
        self.list("proxy", Listed { items: proxies }, |proxies| {
            proxy_table(proxies, self.output == Some(Format::Wide))
        })
    }

    fn list<T: Serialize>(
        &self,
        what: &str,
        listed: Listed<T>,
        table: impl FnOnce(&[T]) -> Table,
    ) -> Result<(), Failure> {
        if let (true, Some(name)) = (listed.items.is_empty(), &self.name) {
            return Err(Failure::Invalid(format!("there is no {what} {name}")));
        }
        match self.output {
            Some(Format::Json) => print_json(&listed),
            Some(Format::Yaml) => print_yaml(&[listed]),
            None | Some(Format::Wide) => table(&listed.items).print(),
        }
    }
}

impl Wanted {
    fn of(kind: &str) -> Result<Self, Failure> {
        match &*kind.to_ascii_lowercase() {
            "proxy" | "proxies" => Ok(Self::Proxies),
            "peer" | "peers" => Ok(Self::Peers),
            other => kinds::resolve(other).map(Self::Objects).ok_or_else(|| {
                let known: Vec<String> = kinds::all().map(|kind| kind.plural).collect();
                let known = known.join(", ");
                Failure::Usage(format!("{kind:?} is no kind; known are {known}, proxies and peers"))
            }),
        }
    }
}

fn proxy_table(proxies: &[ProxyInfo], wide: bool) -> Table {
    let mut table = Table::new(&["NAME", "ROLE", "PID", "READY", "RESTARTS", "ADMIN"]);
    if wide {
        table.column("SCOPE");
        table.column("REVISION");
    }
    let none = || "<none>".to_owned();
    for proxy in proxies {
        let mut row = vec![
            proxy.name.clone(),
            proxy.role.clone(),
            proxy.pid.map_or_else(none, |pid| pid.to_string()),
            proxy.ready.to_string(),
            proxy.restarts.to_string(),
            proxy.admin.display().to_string(),
        ];
        if wide {
            row.push(proxy.scope.clone());
            row.push(proxy.revision.map_or_else(none, |revision| revision.to_string()));
        }
        table.row(row);
    }
    table
}
