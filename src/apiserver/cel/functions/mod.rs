//! The functions that Kubernetes adds to CEL.
//!
//! Each is a line of a signature, which the checker reads, and what it does. The language's own are
//! the crate's.

#![expect(
    clippy::needless_pass_by_value,
    reason = "the form that the crate gives functions"
)]

mod formats;
mod lists;
mod networks;
mod quantities;
mod regexes;
mod urls;
mod versions;

use std::any::Any;
use std::collections::HashSet;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock};

use cel::common::functions::Function;
use cel::common::types::{self as cel_types, CelBool, CelInt, CelList, CelString};
use cel::common::value::{CowVal, FromVal, StaticVal, Val};
use cel::{Env, ExecutionError, extensions};

use super::budget;
use super::signatures::{self, Signature};
use super::types::Type;
use crate::apiserver::go_regex;

/// The types that only their own functions look into.
const OPAQUE: &[&cel_types::Type] = &[
    &formats::FORMAT,
    &networks::CIDR,
    &networks::IP,
    &quantities::QUANTITY,
    &urls::URL,
    &versions::SEMVER,
];

/// All that is added, with its signatures.
pub(super) fn all() -> impl Iterator<Item = (&'static str, Function)> {
    let tables = [
        budget::FUNCTIONS,
        formats::FUNCTIONS,
        lists::FUNCTIONS,
        networks::FUNCTIONS,
        quantities::FUNCTIONS,
        regexes::FUNCTIONS,
        urls::FUNCTIONS,
        versions::FUNCTIONS,
    ];
    tables.into_iter().flatten().copied()
}

/// The name of an opaque type, as it lives.
pub(super) fn opaque_name(name: &str) -> &'static str {
    let known = OPAQUE.iter().find(|kind| kind.name().ends_with(name));
    known.expect("a signature names known types").name()
}

/// The language with all its functions.
pub(super) fn environment() -> &'static Arc<Env> {
    static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
        let mut env = Env::stdlib();
        let extended = env
            .add_extension(extensions::strings)
            .and_then(|()| env.add_extension(extensions::lists))
            .and_then(|()| super::macros::add(&mut env));
        extended.expect("the extensions do not clash");
        let mut seen = HashSet::new();
        for (line, function) in all() {
            let (name, signature) = signatures::parse(line);
            let arguments: Vec<cel_types::Type> =
                signature.arguments.iter().map(at_run_time).collect();
            // Lists are of one type there, whatever they hold.
            if seen.insert(format!("{name} {} {arguments:?}", signature.member)) {
                register(&mut env, name, line, &signature, arguments, function);
            }
        }
        Arc::new(env)
    });
    &ENVIRONMENT
}

fn register(
    env: &mut Env,
    name: &str,
    line: &str,
    signature: &Signature,
    mut arguments: Vec<cel_types::Type>,
    function: Function,
) {
    let added = if signature.member {
        let target = arguments.remove(0);
        env.add_member_overload(name, line, target, arguments, function)
    } else {
        env.add_overload(name, line, arguments, function)
    };
    added.expect("a signature stands once");
}

fn at_run_time(kind: &Type) -> cel_types::Type {
    match kind {
        Type::Bool => cel_types::BOOL_TYPE,
        Type::Int => cel_types::INT_TYPE,
        Type::Uint => cel_types::UINT_TYPE,
        Type::Double => cel_types::DOUBLE_TYPE,
        Type::String => cel_types::STRING_TYPE,
        Type::Bytes => cel_types::BYTES_TYPE,
        Type::Duration => cel_types::DURATION_TYPE,
        Type::Timestamp => cel_types::TIMESTAMP_TYPE,
        Type::List(_) => cel_types::LIST_TYPE,
        Type::Map(..) => cel_types::MAP_TYPE,
        Type::Optional(_) => cel_types::OPTIONAL_TYPE,
        Type::Opaque(name) => {
            let known = OPAQUE.iter().find(|known| known.name() == *name);
            (*known.expect("an opaque type is known")).to_owned()
        }
        _ => cel_types::DYN_TYPE,
    }
}

/// Whether a text that stands in a rule is one that the function takes; of others nothing is known
/// before they are met.
pub(super) fn is_good_literal(function: &str, text: &str) -> bool {
    match function {
        "matches" => go_regex::compile(text).is_ok(),
        "duration" | "timestamp" => converted(function, text).is_some(),
        _ => true,
    }
}

/// The duration or time that a text says.
pub(super) fn converted<'v>(function: &str, text: &str) -> Option<Box<dyn Val + 'v>> {
    let arguments = vec![CowVal::owned(CelString::from(text.to_owned()))];
    let convert = environment_without_ours().find_overload(function, &arguments)?;
    convert(arguments)
        .ok()
        .map(|value| value.clone().into_owned())
}

/// The language alone; enough for its conversions, and there while the rest is made.
fn environment_without_ours() -> &'static Env {
    static PLAIN: LazyLock<Env> = LazyLock::new(Env::stdlib);
    &PLAIN
}

type Answer<'b, 'v> = Result<CowVal<'b, 'v>, ExecutionError>;

/// A value that only its own functions look into.
#[derive(Debug, Clone)]
struct Held<T>(T);

/// What stands behind an opaque type.
trait Inner: Debug + Clone + PartialEq + Send + Sync + 'static {
    /// Its name in CEL.
    fn kind() -> &'static cel_types::Type;
}

impl<T: Inner> Val for Held<T> {
    fn get_type(&self) -> &cel_types::Type {
        T::kind()
    }

    fn cel_type() -> &'static cel_types::Type {
        T::kind()
    }

    fn equals(&self, other: &dyn Val) -> bool {
        other
            .downcast_ref::<Self>()
            .is_some_and(|other| other.0 == self.0)
    }

    fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
    where
        Self: 'v,
    {
        Box::new(self.clone())
    }

    fn as_any(&self) -> Option<&dyn Any> {
        Some(self)
    }
}

impl<T: Inner> StaticVal for Held<T> {}

fn held<'b, 'v, T: Inner>(value: T) -> CowVal<'b, 'v> {
    CowVal::owned(Held(value))
}

/// The value behind an argument.
fn inner<'a, T: Inner>(
    arguments: &'a [CowVal<'_, '_>],
    index: usize,
) -> Result<&'a T, ExecutionError> {
    argument::<Held<T>>(arguments, index).map(|held| &held.0)
}

/// An argument as what its signature says it is.
fn argument<'a, 'v, T: FromVal<'a, 'v>>(
    arguments: &'a [CowVal<'_, 'v>],
    index: usize,
) -> Result<&'a T, ExecutionError> {
    arguments
        .get(index)
        .and_then(|argument| argument.as_ref().downcast_ref::<T>())
        .ok_or_else(|| ExecutionError::no_such_overload("", Vec::new()))
}

fn text<'a>(arguments: &'a [CowVal<'_, '_>], index: usize) -> Result<&'a str, ExecutionError> {
    argument::<CelString>(arguments, index).map(CelString::inner)
}

fn number(arguments: &[CowVal<'_, '_>], index: usize) -> Result<i64, ExecutionError> {
    argument::<CelInt>(arguments, index).map(|number| *number.inner())
}

#[expect(clippy::unnecessary_wraps, reason = "an answer as functions give it")]
fn answer_bool<'b, 'v>(value: bool) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelBool::from(value)))
}

#[expect(clippy::unnecessary_wraps, reason = "an answer as functions give it")]
fn answer_int<'b, 'v>(value: i64) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelInt::from(value)))
}

#[expect(clippy::unnecessary_wraps, reason = "an answer as functions give it")]
fn answer_text<'b, 'v>(value: String) -> Answer<'b, 'v> {
    Ok(CowVal::owned(CelString::from(value)))
}

fn texts<'v>(values: impl IntoIterator<Item = String>) -> CelList<'v> {
    let boxed = |text: String| -> Box<dyn Val + 'v> { Box::new(CelString::from(text)) };
    CelList::from(values.into_iter().map(boxed).collect::<Vec<_>>())
}

/// An error of a function, told in its own words.
pub(super) fn refused(problem: impl Into<String>) -> ExecutionError {
    ExecutionError::FunctionError {
        function: String::new(),
        message: problem.into(),
    }
}
