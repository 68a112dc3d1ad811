//! IP addresses and networks.

use std::net::IpAddr;

use cel::ExecutionError;
use cel::common::functions::Function;
use cel::common::types::Type;
use cel::common::value::CowVal;

use super::{Answer, Inner, answer_bool, answer_int, answer_text, held, inner, refused, text};

pub(super) static IP: Type = Type::new_unspecified_type("net.IP");
pub(super) static CIDR: Type = Type::new_unspecified_type("net.CIDR");

/// # Source
/// `library/ip.go` and `library/cidr.go` of Kubernetes.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("ip(string) -> IP", ip),
    ("isIP(string) -> bool", is_ip),
    ("ip.isCanonical(string) -> bool", is_canonical),
    ("string(IP) -> string", ip_text),
    (".family(IP) -> int", family),
    (".isUnspecified(IP) -> bool", is_unspecified),
    (".isLoopback(IP) -> bool", is_loopback),
    (".isLinkLocalMulticast(IP) -> bool", is_link_local_multicast),
    (".isLinkLocalUnicast(IP) -> bool", is_link_local_unicast),
    (".isGlobalUnicast(IP) -> bool", is_global_unicast),
    ("cidr(string) -> CIDR", cidr),
    ("isCIDR(string) -> bool", is_cidr),
    ("string(CIDR) -> string", cidr_text),
    (".containsIP(CIDR, string) -> bool", contains_ip_text),
    (".containsIP(CIDR, IP) -> bool", contains_ip),
    (".containsCIDR(CIDR, string) -> bool", contains_cidr_text),
    (".containsCIDR(CIDR, CIDR) -> bool", contains_cidr),
    (".ip(CIDR) -> IP", cidr_ip),
    (".prefixLength(CIDR) -> int", prefix_length),
    (".masked(CIDR) -> CIDR", masked),
];

impl Inner for IpAddr {
    fn kind() -> &'static Type {
        &IP
    }
}

/// An address and how many of its bits name the network.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Inner for Cidr {
    fn kind() -> &'static Type {
        &CIDR
    }
}

impl Cidr {
    fn masked(self) -> Self {
        let address = match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits));
                IpAddr::V4((u32::from(address) & mask.unwrap_or(0)).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits));
                IpAddr::V6((u128::from(address) & mask.unwrap_or(0)).into())
            }
        };
        Self { address, ..self }
    }

    fn contains(self, address: IpAddr) -> bool {
        let same_family = self.address.is_ipv4() == address.is_ipv4();
        same_family && Self { address, ..self }.masked() == self.masked()
    }
}

fn parse_ip(written: &str) -> Result<IpAddr, String> {
    match written.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) if address.to_ipv4_mapped().is_some() => Err(format!(
            "IPv4-mapped IPv6 address \"{written}\" is not allowed"
        )),
        Ok(address) => Ok(address),
        Err(_) if written.contains('%') => Err(format!(
            "IP address \"{written}\" with zone value is not allowed"
        )),
        Err(_) => Err(format!("IP Address \"{written}\" parse error")),
    }
}

fn parse_cidr(written: &str) -> Result<Cidr, String> {
    let refuse = || format!("netip.ParsePrefix(\"{written}\"): no valid network");
    let (address, bits) = written.split_once('/').ok_or_else(refuse)?;
    let address = parse_ip(address)?;
    let plain = bits == "0" || !bits.starts_with(['0', '+']);
    let bits: u8 = bits.parse().ok().filter(|_| plain).ok_or_else(refuse)?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    if bits > most {
        return Err(refuse());
    }
    Ok(Cidr { address, bits })
}

fn ip<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    parse_ip(text(&arguments, 0)?).map(held).map_err(refused)
}

fn is_ip<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(parse_ip(text(&arguments, 0)?).is_ok())
}

fn is_canonical<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let written = text(&arguments, 0)?;
    let address = parse_ip(written).map_err(refused)?;
    answer_bool(address.to_string() == written)
}

fn address(arguments: &[CowVal<'_, '_>], index: usize) -> Result<IpAddr, ExecutionError> {
    inner::<IpAddr>(arguments, index).copied()
}

fn ip_text<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_text(address(&arguments, 0)?.to_string())
}

fn family<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let is_ipv4 = address(&arguments, 0)?.is_ipv4();
    answer_int(if is_ipv4 { 4 } else { 6 })
}

fn is_unspecified<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(address(&arguments, 0)?.is_unspecified())
}

fn is_loopback<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(address(&arguments, 0)?.is_loopback())
}

fn is_link_local_multicast<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(match address(&arguments, 0)? {
        IpAddr::V4(address) => address.octets()[..3] == [224, 0, 0],
        IpAddr::V6(address) => address.segments()[0] & 0xff0f == 0xff02,
    })
}

fn link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

fn is_link_local_unicast<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(link_local(address(&arguments, 0)?))
}

fn is_global_unicast<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let address = address(&arguments, 0)?;
    let broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    answer_bool(
        !broadcast
            && !address.is_unspecified()
            && !address.is_loopback()
            && !address.is_multicast()
            && !link_local(address),
    )
}

fn cidr<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    parse_cidr(text(&arguments, 0)?)
        .map(held)
        .map_err(|problem| {
            refused(format!(
                "network address parse error during conversion from string: {problem}"
            ))
        })
}

fn is_cidr<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(parse_cidr(text(&arguments, 0)?).is_ok())
}

fn network(arguments: &[CowVal<'_, '_>], index: usize) -> Result<Cidr, ExecutionError> {
    inner::<Cidr>(arguments, index).copied()
}

fn cidr_text<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let Cidr { address, bits } = network(&arguments, 0)?;
    answer_text(format!("{address}/{bits}"))
}

fn contains_ip<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(network(&arguments, 0)?.contains(address(&arguments, 1)?))
}

fn contains_ip_text<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let address = parse_ip(text(&arguments, 1)?).map_err(refused)?;
    answer_bool(network(&arguments, 0)?.contains(address))
}

fn contains_cidr<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(contains(network(&arguments, 0)?, network(&arguments, 1)?))
}

fn contains_cidr_text<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let other = parse_cidr(text(&arguments, 1)?).map_err(refused)?;
    answer_bool(contains(network(&arguments, 0)?, other))
}

fn contains(network: Cidr, part: Cidr) -> bool {
    network.bits <= part.bits && network.contains(part.address)
}

fn cidr_ip<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    network(&arguments, 0).map(|network| held(network.address))
}

fn prefix_length<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_int(network(&arguments, 0)?.bits.into())
}

fn masked<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    network(&arguments, 0).map(|network| held(network.masked()))
}
