//! The functions: what they accept, what they answer, and what they do.

mod lists;
pub(super) mod methods;
mod numbers;
mod signature;
mod strings;
mod times;

use super::Names;
use super::datum::Datum;
use super::machine::{Answer, Machine};
use super::types::Type;
use signature::{Param, Returns, Signature};

/// One function of the language.
pub(super) struct Function {
    pub(super) name: &'static str,
    /// Only conditions know it; time expressions do not.
    only_in_conditions: bool,
    signature: Signature,
    pub(super) call: for<'m, 'a> fn(&'m mut Machine<'a>, &'m [Datum<'a>]) -> Answer<'a>,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    /// The type of a call with arguments of these types.
    pub(super) fn check(&self, arguments: &[Type]) -> Result<Type, String> {
        self.signature.check(self.name, arguments)
    }
}

impl Names {
    pub(super) fn know(self, function: &Function) -> bool {
        self == Self::Condition || !function.only_in_conditions
    }
}

pub(super) fn named(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

const fn builtin(
    name: &'static str,
    signature: Signature,
    call: for<'m, 'a> fn(&'m mut Machine<'a>, &'m [Datum<'a>]) -> Answer<'a>,
) -> Function {
    Function {
        name,
        only_in_conditions: false,
        signature,
        call,
    }
}

const fn of_condition(function: Function) -> Function {
    Function {
        only_in_conditions: true,
        ..function
    }
}

/// The overloads of a function: what it takes, what it answers.
macro_rules! takes {
    ($(($($param:ident),*) -> $returns:ident),+ $(,)?) => {
        Signature::Overloads(&[$((&[$(Param::$param),*], Returns::$returns)),+])
    };
}

#[rustfmt::skip]
static FUNCTIONS: &[Function] = &[
    // Argo's own
    of_condition(builtin("asInt", takes!((Any) -> Int), numbers::as_int)),
    of_condition(builtin("asFloat", takes!((Any) -> Float), numbers::as_float)),
    of_condition(builtin("isNil", takes!((Any) -> Bool), lists::is_nil)),
    of_condition(builtin("default", takes!((Any, Any) -> Any), lists::default)),
    builtin("isNaN", takes!((Float) -> Bool), numbers::is_nan),
    builtin("isInf", takes!((Float) -> Bool), numbers::is_inf),
    // any value
    builtin("len", takes!((Sized) -> Int), lists::len),
    builtin("type", takes!((Any) -> String), strings::type_of),
    builtin("string", takes!((Any) -> String), strings::string),
    builtin("get", Signature::Get, lists::get),
    builtin("toJSON", takes!((Any) -> String), strings::to_json),
    builtin("fromJSON", takes!((String) -> Any), strings::from_json),
    // numbers
    builtin("abs", takes!((Number) -> Argument), numbers::abs),
    builtin("ceil", takes!((Number) -> Float), numbers::ceil),
    builtin("floor", takes!((Number) -> Float), numbers::floor),
    builtin("round", takes!((Number) -> Float), numbers::round),
    builtin("int", takes!((Number) -> Int, (String) -> Int), numbers::int),
    builtin("float", takes!((Number) -> Float, (String) -> Float), numbers::float),
    builtin("max", Signature::Aggregate, numbers::max),
    builtin("min", Signature::Aggregate, numbers::min),
    builtin("mean", Signature::Aggregate, numbers::mean),
    builtin("median", Signature::Aggregate, numbers::median),
    builtin("bitand", takes!((Int, Int) -> Int), numbers::bit_and),
    builtin("bitor", takes!((Int, Int) -> Int), numbers::bit_or),
    builtin("bitxor", takes!((Int, Int) -> Int), numbers::bit_xor),
    builtin("bitnand", takes!((Int, Int) -> Int), numbers::bit_nand),
    builtin("bitnot", takes!((Int) -> Int), numbers::bit_not),
    builtin("bitshl", takes!((Int, Int) -> Int), numbers::shift_left),
    builtin("bitshr", takes!((Int, Int) -> Int), numbers::shift_right),
    builtin("bitushr", takes!((Int, Int) -> Int), numbers::shift_right_unsigned),
    // texts
    builtin("trim", takes!((String) -> String, (String, String) -> String), strings::trim),
    builtin("trimPrefix", takes!((String) -> String, (String, String) -> String), strings::trim_prefix),
    builtin("trimSuffix", takes!((String) -> String, (String, String) -> String), strings::trim_suffix),
    builtin("upper", takes!((String) -> String), strings::upper),
    builtin("lower", takes!((String) -> String), strings::lower),
    builtin("split", takes!((String, String) -> Strings, (String, String, Int) -> Strings), strings::split),
    builtin("splitAfter", takes!((String, String) -> Strings, (String, String, Int) -> Strings), strings::split_after),
    builtin("replace", takes!((String, String, String) -> String, (String, String, String, Int) -> String), strings::replace),
    builtin("repeat", takes!((String, Int) -> String), strings::repeat),
    builtin("join", takes!((List) -> String, (List, String) -> String), strings::join),
    builtin("indexOf", takes!((String, String) -> Int), strings::index_of),
    builtin("lastIndexOf", takes!((String, String) -> Int), strings::last_index_of),
    builtin("hasPrefix", takes!((String, String) -> Bool), strings::has_prefix),
    builtin("hasSuffix", takes!((String, String) -> Bool), strings::has_suffix),
    builtin("toBase64", takes!((String) -> String), strings::to_base64),
    builtin("fromBase64", takes!((String) -> String), strings::from_base64),
    // times
    builtin("now", takes!(() -> Time, (Zone) -> Time), times::now),
    builtin("duration", takes!((String) -> Duration), times::duration),
    builtin("date", Signature::Date, times::date),
    builtin("timezone", takes!((String) -> Zone), times::timezone),
    // lists and maps
    builtin("first", takes!((List) -> Element), lists::first),
    builtin("last", takes!((List) -> Element), lists::last),
    builtin("take", takes!((List, Int) -> Argument), lists::take),
    builtin("keys", takes!((Map) -> List), lists::keys),
    builtin("values", takes!((Map) -> List), lists::values),
    builtin("toPairs", takes!((Map) -> List), lists::to_pairs),
    builtin("fromPairs", takes!((List) -> Map), lists::from_pairs),
    builtin("reverse", takes!((List) -> List), lists::reverse),
    builtin("uniq", takes!((List) -> List), lists::uniq),
    builtin("concat", Signature::Lists, lists::concat),
    builtin("flatten", takes!((List) -> List), lists::flatten),
    builtin("sort", takes!((List) -> List, (List, String) -> List), lists::sort),
];
