//! Addresses that metric requests must not reach: a template's author is not to read the
//! credentials of the node that the controller runs on.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Url, redirect};

use super::{LinkLocal, shown};

/// Argo follows as many.
const MOST_REDIRECTS: usize = 10;

/// Instance metadata beside 169.254.0.0/16: Alibaba, Azure's wire server, Oracle.
const METADATA_V4: &[Ipv4Addr] = &[
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Instance metadata beside `fe80::/10`: Amazon, Google, Oracle.
const METADATA_V6: &[Ipv6Addr] = &[
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];

/// Names of instance metadata, for when a proxy resolves them.
const METADATA_NAMES: &[&str] = &[
    "metadata.google.internal",
    "metadata.goog",
    "metadata",
    "instance-data.ec2.internal",
];

/// Lets addresses pass or not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    link_local: LinkLocal,
}

/// An address that was not asked.
#[derive(Debug)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "refused: {} is a link-local or instance-metadata address",
            self.0
        )
    }
}

impl std::error::Error for Refused {}

/// A redirect that was not followed.
#[derive(Debug)]
struct TooManyRedirects;

impl fmt::Display for TooManyRedirects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {MOST_REDIRECTS} redirects")
    }
}

impl std::error::Error for TooManyRedirects {}

impl Guard {
    pub(super) fn new(link_local: LinkLocal) -> Self {
        Self { link_local }
    }

    /// An address that may be asked, as far as it tells without being resolved.
    pub(super) fn checked(self, address: &str) -> Result<Url, String> {
        let url = Url::parse(address)
            .map_err(|error| format!("not a URL: {error}: {}", shown(address)))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!(
                "the URL's scheme must be http or https: {}",
                url.scheme()
            ));
        }
        self.check(&url).map_err(|refused| refused.to_string())?;
        Ok(url)
    }

    fn check(self, url: &Url) -> Result<(), Refused> {
        let host = url.host_str().unwrap_or_default();
        let host = host.strip_suffix('.').unwrap_or(host);
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        let is_refused = match bare.parse::<IpAddr>() {
            Ok(ip) => is_link_local(ip),
            Err(_) => METADATA_NAMES
                .iter()
                .any(|name| name.eq_ignore_ascii_case(host)),
        };
        if is_refused && self.link_local == LinkLocal::Refused {
            return Err(Refused(host.to_owned()));
        }
        Ok(())
    }

    fn check_resolved(self, name: &str, found: &[SocketAddr]) -> Result<(), Refused> {
        if self.link_local == LinkLocal::Allowed {
            return Ok(());
        }
        match found.iter().find(|address| is_link_local(address.ip())) {
            Some(address) => Err(Refused(format!("{name} ({})", address.ip()))),
            None => Ok(()),
        }
    }

    /// Follows redirects to addresses that may be asked.
    pub(super) fn redirects(self) -> redirect::Policy {
        redirect::Policy::custom(move |attempt| {
            if attempt.previous().len() > MOST_REDIRECTS {
                return attempt.error(TooManyRedirects);
            }
            match self.check(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(refused) => attempt.error(refused),
            }
        })
    }
}

/// Resolves names for every connection, so that a name cannot change between check and use.
impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = *self;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            guard.check_resolved(name.as_str(), &found)?;
            Ok::<Addrs, _>(Box::new(found.into_iter()))
        })
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            v6.is_unicast_link_local()
                || METADATA_V6.contains(&v6)
                || embedded(v6).is_some_and(|v4| is_link_local(IpAddr::V4(v4)))
        }
    }
}

/// The IPv4 address in a mapped (`::ffff:…`), compatible (`::…`), NAT64 (`64:ff9b::…`) or 6to4
/// (`2002:…`) one.
fn embedded(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let from = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff | 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(from(high, low))
        }
        [0x2002, high, low, ..] => Some(from(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_addresses_are_refused_in_every_spelling() {
        let guard = Guard::new(LinkLocal::Refused);
        for address in [
            "http://169.254.169.254/latest/meta-data",
            "http://2852039166/",
            "http://0xa9fea9fe/",
            "http://0251.0376.0251.0376/",
            "http://169.254.169.254./",
            "http://169.254.170.2/v2/credentials",
            "http://[fe80::1]/",
            "http://[fd00:ec2::254]/",
            "http://[fd20:ce::254]/",
            "http://[::ffff:169.254.169.254]/",
            "http://[::169.254.169.254]/",
            "http://[64:ff9b::a9fe:a9fe]/",
            "http://[2002:a9fe:a9fe::1]/",
            "http://100.100.100.200/",
            "http://Metadata.Google.Internal/",
            "http://metadata.google.internal./",
            "http://me:secret@169.254.169.254/",
        ] {
            let error = guard.checked(address).unwrap_err();
            assert!(
                error.starts_with("refused: ") && !error.contains("secret"),
                "{error}"
            );
            assert!(Guard::new(LinkLocal::Allowed).checked(address).is_ok());
        }
    }

    #[test]
    fn other_addresses_pass() {
        let guard = Guard::new(LinkLocal::Refused);
        for address in [
            "http://127.0.0.1:9090",
            "http://10.0.0.1",
            "http://[::1]:9090",
            "http://[2001:db8::1]",
            "http://169.253.1.1",
            "https://prometheus.monitoring.svc:9090/path",
        ] {
            assert!(guard.checked(address).is_ok(), "{address}");
        }
    }

    #[test]
    fn what_is_no_http_address_is_named_without_its_secrets() {
        let guard = Guard::new(LinkLocal::Refused);
        for (address, expected) in [
            ("ftp://me:secret@host/", "scheme must be http or https: ftp"),
            ("http://me:secret@", "not a URL"),
            ("nonsense?secret", "not a URL"),
        ] {
            let error = guard.checked(address).unwrap_err();
            assert!(
                error.contains(expected) && !error.contains("secret"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_name_must_not_resolve_to_metadata() {
        let found: Vec<SocketAddr> = ["10.0.0.1:0", "169.254.169.254:0"]
            .map(|text| text.parse().unwrap())
            .into();
        let refused = Guard::new(LinkLocal::Refused).check_resolved("evil.example", &found);
        assert!(
            refused
                .unwrap_err()
                .to_string()
                .contains("evil.example (169.254.169.254)")
        );
        assert!(
            Guard::new(LinkLocal::Refused)
                .check_resolved("a", &found[..1])
                .is_ok()
        );
        assert!(
            Guard::new(LinkLocal::Allowed)
                .check_resolved("a", &found)
                .is_ok()
        );
    }
}
