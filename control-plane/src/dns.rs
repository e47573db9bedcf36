//! The DNS server for `clusterset.local`, over UDP and TCP (RFC 1035, RFC 7766).
//!
//! What is answered is decided by [`isthmus_east_west::dns`] from a table that the run loop replaces
//! whole; here it is only read from and written to packets. Before there is a table the answer is a failure
//! (SERVFAIL), never that a name does not exist. Names outside the zone are refused, and nobody else is ever
//! asked on a client's behalf.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use arc_swap::ArcSwapOption;
use hickory_proto::{
    op::{Edns, Header, HeaderCounts, MessageType, Metadata, OpCode, ResponseCode},
    rr::{
        DNSClass, LowerName, Name, RData, Record,
        rdata::{NS, SOA, SRV, TXT},
    },
};
use hickory_server::{
    Server,
    net::runtime::Time,
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use isthmus_east_west::dns::{Answer, Data, NEGATIVE_TTL, RecordType, TTL, Table, ZONE};
use tokio::net::{TcpListener, UdpSocket};

/// A TCP connection that asks nothing for this long is closed.
const TCP_IDLE: Duration = Duration::from_secs(10);
/// Answers that one TCP connection may have waiting.
const TCP_WAITING: usize = 32;
/// The largest answer over UDP that we offer (DNS Flag Day 2020).
const UDP_PAYLOAD: u16 = 1232;

/// A server that answers from `table`, whatever is in it at the time.
pub struct DnsServer {
    server: Server<Zone>,
    address: SocketAddr,
}

impl DnsServer {
    /// Binds UDP and TCP on `address`.
    ///
    /// # Errors
    /// When a socket cannot be bound.
    pub async fn bind(address: SocketAddr, table: Arc<ArcSwapOption<Table>>) -> std::io::Result<Self> {
        let tcp = TcpListener::bind(address).await?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address).await?;
        let mut server = Server::new(Zone { table });
        server.register_listener(tcp, TCP_IDLE, TCP_WAITING);
        server.register_socket(udp);
        Ok(Self { server, address })
    }

    /// Where it answers.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it once questions under way are answered.
    pub async fn shut_down(mut self) {
        if let Err(error) = self.server.shutdown_gracefully().await {
            tracing::warn!(%error, "dns server ended badly");
        }
    }
}

struct Zone {
    table: Arc<ArcSwapOption<Table>>,
}

#[async_trait::async_trait]
impl RequestHandler for Zone {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut handle: R,
    ) -> ResponseInfo {
        let reply = reply(self.table.load().as_deref(), request);
        let mut metadata = Metadata::response_from_request(&request.metadata);
        metadata.authoritative = matches!(reply.code, ResponseCode::NoError | ResponseCode::NXDomain);
        metadata.recursion_available = false;
        metadata.response_code = reply.code;
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if request.edns.is_some() {
            builder.edns(&edns);
        }
        let response = builder.build(metadata, &reply.answers, &[], &reply.authority, &reply.additional);
        match handle.send_response(response).await {
            Ok(info) => info,
            Err(error) => {
                tracing::debug!(%error, "dns answer could not be sent");
                failed(request)
            }
        }
    }
}

fn failed(request: &Request) -> ResponseInfo {
    let mut metadata = Metadata::response_from_request(&request.metadata);
    metadata.response_code = ResponseCode::ServFail;
    Header { metadata, counts: HeaderCounts::default() }.into()
}

/// The sections of a response.
struct Reply {
    code: ResponseCode,
    answers: Vec<Record>,
    authority: Vec<Record>,
    additional: Vec<Record>,
}

impl Reply {
    fn empty(code: ResponseCode) -> Self {
        Self { code, answers: Vec::new(), authority: Vec::new(), additional: Vec::new() }
    }

    /// A negative answer carries the SOA, by whose minimum it may be kept (RFC 2308, section 3).
    fn negative(code: ResponseCode) -> Self {
        Self { authority: vec![authority(NEGATIVE_TTL)], ..Self::empty(code) }
    }
}

fn reply(table: Option<&Table>, request: &Request) -> Reply {
    let Ok(info) = request.request_info() else { return Reply::empty(ResponseCode::FormErr) };
    if info.metadata.message_type != MessageType::Query || info.metadata.op_code != OpCode::Query {
        return Reply::empty(ResponseCode::NotImp);
    }
    if info.query.query_class() != DNSClass::IN {
        return Reply::empty(ResponseCode::Refused);
    }
    let Some(table) = table else { return Reply::empty(ResponseCode::ServFail) };
    match table.answer(&LowerName::to_string(info.query.name()), asked(info.query.query_type())) {
        Answer::Found { answers, additional } => Reply {
            answers: answers.iter().filter_map(record).collect(),
            additional: additional.iter().filter_map(record).collect(),
            ..Reply::empty(ResponseCode::NoError)
        },
        Answer::NoData => Reply::negative(ResponseCode::NoError),
        Answer::NxDomain => Reply::negative(ResponseCode::NXDomain),
        Answer::Refused => Reply::empty(ResponseCode::Refused),
    }
}

fn asked(kind: hickory_proto::rr::RecordType) -> RecordType {
    use hickory_proto::rr::RecordType as Wire;
    match kind {
        Wire::A => RecordType::A,
        Wire::AAAA => RecordType::Aaaa,
        Wire::SRV => RecordType::Srv,
        Wire::TXT => RecordType::Txt,
        Wire::SOA => RecordType::Soa,
        Wire::NS => RecordType::Ns,
        Wire::ANY => RecordType::Any,
        _ => RecordType::Other,
    }
}

/// None for a name that is no name on the wire, which a validated object cannot have.
fn record(record: &isthmus_east_west::dns::Record) -> Option<Record> {
    let data = match &record.data {
        Data::Address(std::net::IpAddr::V4(ip)) => RData::A((*ip).into()),
        Data::Address(std::net::IpAddr::V6(ip)) => RData::AAAA((*ip).into()),
        Data::Service { priority, weight, port, target } => {
            RData::SRV(SRV::new(*priority, *weight, *port, name(target)?))
        }
        Data::Text(text) => RData::TXT(TXT::new(vec![text.clone()])),
        Data::Authority => return Some(authority(TTL)),
        Data::NameServer => RData::NS(NS(name(&format!("ns.dns.{ZONE}"))?)),
    };
    Some(Record::from_rdata(name(&record.name)?, record.ttl, data))
}

fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn authority(ttl: u32) -> Record {
    let zone = name(ZONE).unwrap_or_default();
    let server = name(&format!("ns.dns.{ZONE}")).unwrap_or_default();
    let keeper = name(&format!("hostmaster.{ZONE}")).unwrap_or_default();
    Record::from_rdata(
        zone,
        ttl,
        RData::SOA(SOA::new(server, keeper, 1, 3600, 600, 86_400, NEGATIVE_TTL)),
    )
}

#[cfg(test)]
mod tests;
