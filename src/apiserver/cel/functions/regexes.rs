//! Regular expressions.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use cel::ExecutionError;
use cel::common::functions::Function;
use cel::common::value::CowVal;
use regex::Regex;

use super::{Answer, answer_bool, answer_text, number, refused, text, texts};
use crate::apiserver::go_regex;

/// # Source
/// `library/regex.go` of Kubernetes; `matches` is the language's own.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("matches(string, string) -> bool", matches),
    (".matches(string, string) -> bool", matches),
    (".find(string, string) -> string", find),
    (".findAll(string, string) -> list(string)", find_all),
    (".findAll(string, string, int) -> list(string)", find_all),
];

/// How many expressions are kept compiled.
const MOST_KEPT: usize = 256;

/// The expression, compiled once for the rules that use it again and again.
fn compiled(written: &str) -> Result<Arc<Regex>, ExecutionError> {
    static KEPT: LazyLock<Mutex<HashMap<String, Arc<Regex>>>> = LazyLock::new(Mutex::default);
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(regex) = kept.get(written) {
        return Ok(regex.clone());
    }
    let regex = go_regex::compile(written).map_err(refused)?;
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    let regex = Arc::new(regex);
    kept.insert(written.to_owned(), regex.clone());
    Ok(regex)
}

fn matches<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    answer_bool(compiled(text(&arguments, 1)?)?.is_match(text(&arguments, 0)?))
}

fn find<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let regex = compiled(text(&arguments, 1)?)?;
    let found = regex.find(text(&arguments, 0)?);
    answer_text(found.map_or(String::new(), |found| found.as_str().to_owned()))
}

fn find_all<'b, 'v>(arguments: Vec<CowVal<'b, 'v>>) -> Answer<'b, 'v> {
    let regex = compiled(text(&arguments, 1)?)?;
    let limit = match arguments.len() {
        3 => usize::try_from(number(&arguments, 2)?).unwrap_or(usize::MAX),
        _ => usize::MAX,
    };
    let found = regex.find_iter(text(&arguments, 0)?).take(limit);
    Ok(CowVal::owned(texts(
        found.map(|found| found.as_str().to_owned()),
    )))
}
