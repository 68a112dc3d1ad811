//! Which functions there are, for which types: the text that the checker reads.
//!
//! A line is `name(types) -> type`; with a dot in front it is called on its first argument. Single
//! capital letters are types that may be any, but the same wherever they stand.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::functions;
use super::types::Type;

/// What the language itself has: operators, conversions, texts, times, optionals.
///
/// # Source
/// `common/stdlib`, `cel/library.go` and `ext` of cel-go, as far as Kubernetes switches them on.
const STANDARD: &str = "
_?_:_(bool, A, A) -> A
_&&_(bool, bool) -> bool
_||_(bool, bool) -> bool
!_(bool) -> bool
@not_strictly_false(bool) -> bool
_==_(A, A) -> bool
_!=_(A, A) -> bool
_+_(bytes, bytes) -> bytes
_+_(double, double) -> double
_+_(duration, duration) -> duration
_+_(duration, timestamp) -> timestamp
_+_(timestamp, duration) -> timestamp
_+_(int, int) -> int
_+_(list(A), list(A)) -> list(A)
_+_(string, string) -> string
_+_(uint, uint) -> uint
_-_(double, double) -> double
_-_(duration, duration) -> duration
_-_(int, int) -> int
_-_(timestamp, duration) -> timestamp
_-_(timestamp, timestamp) -> duration
_-_(uint, uint) -> uint
_*_(double, double) -> double
_*_(int, int) -> int
_*_(uint, uint) -> uint
_/_(double, double) -> double
_/_(int, int) -> int
_/_(uint, uint) -> uint
_%_(int, int) -> int
_%_(uint, uint) -> uint
-_(double) -> double
-_(int) -> int
_[_](list(A), int) -> A
_[_](map(A, B), A) -> B
_[_](optional(list(A)), int) -> optional(A)
_[_](optional(map(A, B)), A) -> optional(B)
_[?_](list(A), int) -> optional(A)
_[?_](optional(list(A)), int) -> optional(A)
_[?_](map(A, B), A) -> optional(B)
_[?_](optional(map(A, B)), A) -> optional(B)
@in(A, list(A)) -> bool
@in(A, map(A, B)) -> bool
size(bytes) -> int
size(list(A)) -> int
size(map(A, B)) -> int
size(string) -> int
.size(bytes) -> int
.size(list(A)) -> int
.size(map(A, B)) -> int
.size(string) -> int
type(A) -> type(A)
bool(bool) -> bool
bool(string) -> bool
bytes(bytes) -> bytes
bytes(string) -> bytes
double(double) -> double
double(int) -> double
double(string) -> double
double(uint) -> double
duration(duration) -> duration
duration(string) -> duration
dyn(A) -> dyn
int(int) -> int
int(double) -> int
int(string) -> int
int(timestamp) -> int
int(uint) -> int
string(string) -> string
string(bool) -> string
string(bytes) -> string
string(double) -> string
string(duration) -> string
string(int) -> string
string(timestamp) -> string
string(uint) -> string
timestamp(timestamp) -> timestamp
timestamp(int) -> timestamp
timestamp(string) -> timestamp
uint(uint) -> uint
uint(double) -> uint
uint(int) -> uint
uint(string) -> uint
.contains(string, string) -> bool
.endsWith(string, string) -> bool
.startsWith(string, string) -> bool
.getFullYear(timestamp) -> int
.getFullYear(timestamp, string) -> int
.getMonth(timestamp) -> int
.getMonth(timestamp, string) -> int
.getDayOfYear(timestamp) -> int
.getDayOfYear(timestamp, string) -> int
.getDayOfMonth(timestamp) -> int
.getDayOfMonth(timestamp, string) -> int
.getDate(timestamp) -> int
.getDate(timestamp, string) -> int
.getDayOfWeek(timestamp) -> int
.getDayOfWeek(timestamp, string) -> int
.getHours(timestamp) -> int
.getHours(timestamp, string) -> int
.getHours(duration) -> int
.getMinutes(timestamp) -> int
.getMinutes(timestamp, string) -> int
.getMinutes(duration) -> int
.getSeconds(timestamp) -> int
.getSeconds(timestamp, string) -> int
.getSeconds(duration) -> int
.getMilliseconds(timestamp) -> int
.getMilliseconds(timestamp, string) -> int
.getMilliseconds(duration) -> int
optional.of(A) -> optional(A)
optional.ofNonZeroValue(A) -> optional(A)
optional.none() -> optional(A)
.value(optional(A)) -> A
.hasValue(optional(A)) -> bool
.or(optional(A), optional(A)) -> optional(A)
.orValue(optional(A), A) -> A
.charAt(string, int) -> string
.indexOf(string, string) -> int
.indexOf(string, string, int) -> int
.lastIndexOf(string, string) -> int
.lastIndexOf(string, string, int) -> int
.lowerAscii(string) -> string
.upperAscii(string) -> string
.trim(string) -> string
.replace(string, string, string) -> string
.replace(string, string, string, int) -> string
.split(string, string) -> list(string)
.split(string, string, int) -> list(string)
.substring(string, int) -> string
.substring(string, int, int) -> string
.join(list(string)) -> string
.join(list(string), string) -> string
.format(string, list(dyn)) -> string
strings.quote(string) -> string
.slice(list(A), int, int) -> list(A)
.flatten(list(list(A))) -> list(A)
.flatten(list(dyn), int) -> list(dyn)
.distinct(list(A)) -> list(A)
.reverse(list(A)) -> list(A)
.sort(list(A)) -> list(A)
.@sortByAssociatedKeys(list(A), list(B)) -> list(A)
lists.range(int) -> list(int)
";

/// Pairs whose values can be ordered.
const ORDERED: &[(&str, &str)] = &[
    ("bool", "bool"),
    ("int", "int"),
    ("int", "double"),
    ("int", "uint"),
    ("uint", "uint"),
    ("uint", "double"),
    ("uint", "int"),
    ("double", "double"),
    ("double", "int"),
    ("double", "uint"),
    ("string", "string"),
    ("bytes", "bytes"),
    ("timestamp", "timestamp"),
    ("duration", "duration"),
];

/// One way to call a function.
#[derive(Debug, Clone)]
pub(super) struct Signature {
    /// Called on its first argument.
    pub(super) member: bool,
    pub(super) arguments: Vec<Type>,
    pub(super) result: Type,
    /// How many of its types may be any: [`Type::Variable`] 0, 1, ….
    pub(super) variables: usize,
}

/// All ways to call the function of that name.
pub(super) fn of(name: &str) -> Option<&'static [Signature]> {
    static ALL: LazyLock<HashMap<String, Vec<Signature>>> = LazyLock::new(|| {
        let mut all: HashMap<String, Vec<Signature>> = HashMap::new();
        let standard = STANDARD.lines().filter(|line| !line.is_empty());
        let ordered = ["_<_", "_<=_", "_>_", "_>=_"].into_iter().flat_map(|name| {
            let line = move |(a, b): &(&str, &str)| format!("{name}({a}, {b}) -> bool");
            ORDERED.iter().map(line)
        });
        let lines = standard.map(str::to_owned).chain(ordered);
        let ours = functions::all().map(|(line, _)| line.to_owned());
        for line in lines.chain(ours) {
            let (name, signature) = parse(&line);
            all.entry(name.to_owned()).or_default().push(signature);
        }
        all
    });
    ALL.get(name).map(Vec::as_slice)
}

/// Reads one line.
pub(super) fn parse(line: &str) -> (&str, Signature) {
    let (name, member) = match line.strip_prefix('.') {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let (call, result) = name.rsplit_once(" -> ").expect("a signature has a result");
    let (name, arguments) = call
        .strip_suffix(')')
        .and_then(|call| call.split_once('('))
        .expect("a signature has arguments");
    let mut reader = Reader {
        rest: arguments,
        letters: Vec::new(),
    };
    let arguments = reader.types();
    reader.rest = result;
    let result = reader.one();
    let signature = Signature {
        member,
        arguments,
        result,
        variables: reader.letters.len(),
    };
    (name, signature)
}

/// Reads types from the start of a text.
struct Reader<'a> {
    rest: &'a str,
    letters: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    fn types(&mut self) -> Vec<Type> {
        let mut types = Vec::new();
        while !self.rest.is_empty() && !self.rest.starts_with(')') {
            types.push(self.one());
            self.rest = self.rest.strip_prefix(", ").unwrap_or(self.rest);
        }
        types
    }

    fn one(&mut self) -> Type {
        let end = self.rest.find(['(', ')', ',']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        if let Some(inside) = self.rest.strip_prefix('(') {
            self.rest = inside;
            let parameters = self.types();
            self.rest = self.rest.strip_prefix(')').unwrap_or_default();
            return with_parameters(word, parameters);
        }
        match word {
            "bool" => Type::Bool,
            "bytes" => Type::Bytes,
            "double" => Type::Double,
            "duration" => Type::Duration,
            "dyn" => Type::Dyn,
            "int" => Type::Int,
            "string" => Type::String,
            "timestamp" => Type::Timestamp,
            "uint" => Type::Uint,
            letter if letter.len() == 1 => Type::Variable(self.letter(letter)),
            name => Type::Opaque(functions::opaque_name(name)),
        }
    }

    fn letter(&mut self, letter: &'a str) -> usize {
        let known = self.letters.iter().position(|known| *known == letter);
        known.unwrap_or_else(|| {
            self.letters.push(letter);
            self.letters.len() - 1
        })
    }
}

fn with_parameters(word: &str, mut parameters: Vec<Type>) -> Type {
    let last = parameters.pop().expect("a type has parameters");
    match word {
        "list" => Type::list(last),
        "optional" => Type::optional(last),
        "type" => Type::Named(Some(last.into())),
        "map" => Type::map(parameters.pop().expect("a map has keys"), last),
        other => unreachable!("no type `{other}` has parameters"),
    }
}
