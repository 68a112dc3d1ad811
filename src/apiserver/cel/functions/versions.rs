//! Semantic versions.

use cel::ExecutionError;
use cel::common::functions::Function;
use cel::common::types::{CelBool, Type};
use cel::common::value::CowVal;
use semver::Version;

use super::{Answer, Inner, answer_bool, answer_int, argument, held, inner, refused, text};

pub(super) static SEMVER: Type = Type::new_unspecified_type("kubernetes.Semver");

/// # Source
/// `library/semverlib.go` of Kubernetes.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("semver(string) -> Semver", semver),
    ("semver(string, bool) -> Semver", semver),
    ("isSemver(string) -> bool", is_semver),
    ("isSemver(string, bool) -> bool", is_semver),
    (".isGreaterThan(Semver, Semver) -> bool", is_greater),
    (".isLessThan(Semver, Semver) -> bool", is_less),
    (".compareTo(Semver, Semver) -> int", compare),
    (".major(Semver) -> int", major),
    (".minor(Semver) -> int", minor),
    (".patch(Semver) -> int", patch),
];

/// A version; what it was built with says nothing about its order.
#[derive(Debug, Clone)]
struct Semver(Version);

impl PartialEq for Semver {
    fn eq(&self, other: &Self) -> bool {
        self.0.cmp_precedence(&other.0).is_eq()
    }
}

impl Inner for Semver {
    fn kind() -> &'static Type {
        &SEMVER
    }
}

fn parse(arguments: &[CowVal<'_, '_>]) -> Result<Result<Version, String>, ExecutionError> {
    let written = text(arguments, 0)?;
    let forgiving = arguments.len() == 2 && *argument::<CelBool>(arguments, 1)?.inner();
    let parsed = if forgiving {
        Version::parse(&normalized(written))
    } else {
        Version::parse(written)
    };
    Ok(parsed.map_err(|problem| problem.to_string()))
}

/// `v1.02` as `1.2.0`.
fn normalized(written: &str) -> String {
    let written = written.strip_prefix('v').unwrap_or(written);
    let end = written.find(['-', '+']).unwrap_or(written.len());
    let (numbers, rest) = written.split_at(end);
    let without_zeros = |number: &str| match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0".to_owned(),
        other => other.to_owned(),
    };
    let mut parts: Vec<String> = numbers.split('.').map(without_zeros).collect();
    while parts.len() < 3 {
        parts.push("0".to_owned());
    }
    format!("{}{rest}", parts.join("."))
}

fn semver<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    parse(&arguments)?
        .map(|version| held(Semver(version)))
        .map_err(refused)
}

fn is_semver<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(parse(&arguments)?.is_ok())
}

fn ordering(arguments: &[CowVal<'_, '_>]) -> Result<i64, ExecutionError> {
    let (a, b) = (
        inner::<Semver>(arguments, 0)?,
        inner::<Semver>(arguments, 1)?,
    );
    Ok(a.0.cmp_precedence(&b.0) as i64)
}

fn is_greater<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(ordering(&arguments)? > 0)
}

fn is_less<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(ordering(&arguments)? < 0)
}

fn compare<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_int(ordering(&arguments)?)
}

fn part<'b, 'v>(arguments: &[CowVal<'b, 'v>], of: fn(&Version) -> u64) -> Answer<'b, 'v> {
    let number = of(&inner::<Semver>(arguments, 0)?.0);
    answer_int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn major<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    part(&arguments, |version| version.major)
}

fn minor<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    part(&arguments, |version| version.minor)
}

fn patch<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    part(&arguments, |version| version.patch)
}
