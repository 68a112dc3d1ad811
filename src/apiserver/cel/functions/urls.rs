//! URLs, as Go takes them apart.

use std::collections::HashMap;
use std::fmt::Write as _;

use cel::common::functions::Function;
use cel::common::types::{CelMap, CelMapKey, CelString, Type};
use cel::common::value::{CowVal, Val};

use super::{Answer, Inner, answer_bool, answer_text, held, inner, refused, text, texts};

pub(super) static URL: Type = Type::new_unspecified_type("net.URL");

/// # Source
/// `library/urls.go` of Kubernetes.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("url(string) -> URL", url),
    ("isURL(string) -> bool", is_url),
    (".getScheme(URL) -> string", scheme),
    (".getHost(URL) -> string", host),
    (".getHostname(URL) -> string", hostname),
    (".getPort(URL) -> string", port),
    (".getEscapedPath(URL) -> string", path),
    (".getQuery(URL) -> map(string, list(string))", query),
];

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Url {
    scheme: String,
    /// With the port, without user.
    host: String,
    path: String,
    query: String,
    fragment: String,
    user: String,
}

impl Inner for Url {
    fn kind() -> &'static Type {
        &URL
    }
}

impl Url {
    /// Takes an absolute URL or an absolute path apart.
    ///
    /// # Source
    /// `url.ParseRequestURI` of Go, which knows no fragments, for what is refused, `url.Parse` for
    /// the parts.
    pub(super) fn parse(written: &str) -> Result<Self, String> {
        let whole = Self::parse_request(written)?;
        let Some((rest, fragment)) = written.split_once('#') else {
            return Ok(whole);
        };
        if let Some(escape) = bad_escape(fragment) {
            return Err(format!(
                "parse \"{written}\": invalid URL escape \"{escape}\""
            ));
        }
        let fragment = fragment.to_owned();
        Self::parse_request(rest).map(|url| Self { fragment, ..url })
    }

    fn parse_request(written: &str) -> Result<Self, String> {
        let refuse = |problem: &str| Err(format!("parse \"{written}\": {problem}"));
        if written.chars().any(|c| c.is_ascii_control()) {
            return refuse("net/url: invalid control character in URL");
        }
        if written.is_empty() {
            return refuse("empty url");
        }
        let (scheme, rest) = match scheme_of(written) {
            Ok(parts) => parts,
            Err(problem) => return refuse(problem),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        if !rest.starts_with('/') && scheme.is_empty() {
            return refuse("invalid URI for request");
        }
        let (user, host, path) = match rest.strip_prefix("//") {
            Some(authority) if !scheme.is_empty() || !rest.starts_with("///") => {
                let end = authority.find('/').unwrap_or(authority.len());
                let (authority, path) = authority.split_at(end);
                let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
                (user, host, path)
            }
            _ => ("", "", rest),
        };
        let in_user = |c: char| c.is_ascii_alphanumeric() || "-._:~!$&'()*+,;=%@".contains(c);
        if !user.chars().all(in_user) {
            return refuse("net/url: invalid userinfo");
        }
        let mut escapes = host.match_indices('%').map(|(at, _)| &host[at..]);
        let is_ascii = |escape: &&str| {
            matches!(escape.as_bytes(), [_, b'0'..=b'7', ..]) && !escape.starts_with("%25")
        };
        if let Some(escape) = escapes.find(is_ascii) {
            let escape = escape.get(..3).unwrap_or(escape);
            return refuse(&format!("invalid URL escape \"{escape}\""));
        }
        if let Some(problem) = host_problem(host) {
            return refuse(&problem);
        }
        if let Some(escape) = [user, host, path].into_iter().find_map(bad_escape) {
            return refuse(&format!("invalid URL escape \"{escape}\""));
        }
        Ok(Self {
            scheme: scheme.to_lowercase(),
            host: host.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            fragment: String::new(),
            user: user.to_owned(),
        })
    }

    fn hostname(&self) -> &str {
        if let Some(address) = self.host.strip_prefix('[') {
            return address.split(']').next().unwrap_or_default();
        }
        self.host.split(':').next().unwrap_or_default()
    }

    fn port(&self) -> &str {
        let after = self.host.rsplit(']').next().unwrap_or_default();
        after.rsplit_once(':').map_or("", |(_, port)| port)
    }
}

/// The scheme and what follows its colon.
fn scheme_of(written: &str) -> Result<(&str, &str), &'static str> {
    for (index, c) in written.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if index > 0 => {}
            ':' if index == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((&written[..index], &written[index + 1..])),
            _ => break,
        }
    }
    let first = written.split(['/', '?']).next().unwrap_or_default();
    if first.contains(':') {
        return Err("first path segment in URL cannot contain colon");
    }
    Ok(("", written))
}

fn host_problem(host: &str) -> Option<String> {
    let after = match host.strip_prefix('[') {
        Some(address) => match address.split_once(']') {
            Some((_, after)) => after,
            None => return Some("missing ']' in host".to_owned()),
        },
        None => host.find(':').map_or("", |colon| &host[colon..]),
    };
    let digits = after.strip_prefix(':').unwrap_or_default();
    let is_port = after.starts_with(':') && digits.chars().all(|c| c.is_ascii_digit());
    if !after.is_empty() && !is_port {
        return Some(format!("invalid port \"{after}\" after host"));
    }
    let allowed = |c: &char| c.is_alphanumeric() || "-_.~!$&'()*+,;=:[]<>\"%".contains(*c);
    let strange = host.chars().find(|c| !allowed(c));
    strange.map(|c| format!("invalid character \"{c}\" in host name"))
}

/// The first `%` that two hexadecimal digits do not follow.
fn bad_escape(text: &str) -> Option<&str> {
    let escapes = text.match_indices('%').map(|(index, _)| &text[index..]);
    escapes
        .map(|rest| rest.get(..3).unwrap_or(rest))
        .find(|escape| {
            escape.len() < 3 || !escape[1..].chars().all(|digit| digit.is_ascii_hexdigit())
        })
}

fn url<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    Url::parse(text(&arguments, 0)?)
        .map(held)
        .map_err(|problem| {
            refused(format!(
                "URL parse error during conversion from string: {problem}"
            ))
        })
}

fn is_url<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(Url::parse_request(text(&arguments, 0)?).is_ok())
}

fn scheme<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_text(inner::<Url>(&arguments, 0)?.scheme.clone())
}

fn host<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_text(inner::<Url>(&arguments, 0)?.host.clone())
}

fn hostname<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_text(inner::<Url>(&arguments, 0)?.hostname().to_owned())
}

fn port<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_text(inner::<Url>(&arguments, 0)?.port().to_owned())
}

/// The path as it was written, with what may not stand in it escaped.
fn path<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let mut escaped = String::new();
    for byte in inner::<Url>(&arguments, 0)?.path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/[]%".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    answer_text(escaped)
}

fn query<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let mut values: HashMap<String, Vec<String>> = HashMap::new();
    let query = &inner::<Url>(&arguments, 0)?.query;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        // As in Go, pairs that cannot be read are left out.
        if let (Some(key), Some(value)) = (unescaped(key), unescaped(value)) {
            values.entry(key).or_default().push(value);
        }
    }
    let entries = values.into_iter().map(|(key, list)| {
        let list: Box<dyn Val + 'v> = Box::new(texts(list));
        (CelMapKey::String(CelString::from(key)), list)
    });
    Ok(CowVal::owned(CelMap::from(
        entries.collect::<HashMap<_, _>>(),
    )))
}

fn unescaped(text: &str) -> Option<String> {
    if bad_escape(text).is_some() || text.contains(';') {
        return None;
    }
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?].map(char::from);
                u8::from_str_radix(&String::from_iter(digits), 16).ok()?
            }
            plain => plain,
        });
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
