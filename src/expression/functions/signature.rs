//! What functions accept and answer, as static types.

use super::super::types::{Fields, Items, Type};

#[derive(Debug)]
pub(super) enum Signature {
    Overloads(&'static [(&'static [Param], Returns)]),
    /// Numbers and lists of them, any count: `max(1, [2, 3])`.
    Aggregate,
    /// One list or more.
    Lists,
    /// A list and a place, or a map and a key.
    Get,
    /// A zone if need be, the text, its layout, its zone.
    Date,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Param {
    Any,
    String,
    Int,
    /// A float; a whole number will do, though one that is no constant fails when evaluated.
    Float,
    Number,
    List,
    Map,
    Zone,
    /// What has a length.
    Sized,
}

impl Param {
    fn accepts(self, argument: &Type) -> bool {
        match (self, argument) {
            (Self::Zone, argument) => *argument == Type::Zone,
            (Self::Any, _) | (_, Type::Any) => true,
            (Self::String | Self::Sized, argument) if *argument == Type::String => true,
            (Self::Int, argument) => *argument == Type::Int,
            (Self::Float, argument) => argument.is_number(),
            (Self::Number, argument) => is_numeric(argument),
            (Self::List | Self::Sized, argument) if argument.is_list() => true,
            (Self::Map | Self::Sized, argument) => matches!(argument, Type::Map(_)),
            (Self::String | Self::List, _) => false,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Any | Self::Sized => "interface {}",
            Self::String => "string",
            Self::Int => "int",
            Self::Float | Self::Number => "float64",
            Self::List => "[]interface {}",
            Self::Map => "map[string]interface {}",
            Self::Zone => "*time.Location",
        }
    }
}

/// Go's numeric kinds; durations and months are integers underneath.
fn is_numeric(argument: &Type) -> bool {
    argument.is_number() || matches!(argument, Type::Duration | Type::Month | Type::Weekday)
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Returns {
    Any,
    Bool,
    Int,
    Float,
    String,
    Strings,
    List,
    Map,
    Time,
    Duration,
    Zone,
    /// What the first argument is.
    Argument,
    /// What the first argument is a list of.
    Element,
}

impl Returns {
    fn of(self, arguments: &[Type]) -> Type {
        let first = || arguments.first().cloned().unwrap_or(Type::Any);
        match self {
            Self::Any => Type::Any,
            Self::Bool => Type::Bool,
            Self::Int => Type::Int,
            Self::Float => Type::Float,
            Self::String => Type::String,
            Self::Strings => Type::List(Box::new(Type::String), Items::Strings),
            Self::List => Type::list_of(Type::Any),
            Self::Map => Type::Map(Fields::ByAny),
            Self::Time => Type::Time,
            Self::Duration => Type::Duration,
            Self::Zone => Type::Zone,
            Self::Argument => first(),
            Self::Element => first().element(),
        }
    }
}

impl Signature {
    pub(super) fn check(&self, name: &str, arguments: &[Type]) -> Result<Type, String> {
        match self {
            Self::Overloads(overloads) => check_overloads(overloads, name, arguments),
            Self::Aggregate => check_aggregate(name, arguments),
            Self::Lists => {
                if arguments.is_empty() {
                    return Err(format!("not enough arguments to call {name}"));
                }
                match arguments
                    .iter()
                    .find(|argument| !Param::List.accepts(argument))
                {
                    Some(other) => Err(format!("cannot {name} {other}")),
                    None => Ok(Type::list_of(Type::Any)),
                }
            }
            Self::Get => check_get(name, arguments),
            Self::Date => {
                let zones = usize::from(arguments.first() == Some(&Type::Zone));
                match arguments.len() - zones {
                    0 => Err(format!("not enough arguments to call {name}")),
                    1..=3 => Ok(Type::Time),
                    _ => Err(format!("too many arguments to call {name}")),
                }
            }
        }
    }
}

fn check_overloads(
    overloads: &[(&[Param], Returns)],
    name: &str,
    arguments: &[Type],
) -> Result<Type, String> {
    let mut problem = None;
    for (params, returns) in overloads {
        if params.len() != arguments.len() {
            continue;
        }
        let refused = params
            .iter()
            .zip(arguments)
            .find(|(param, argument)| !param.accepts(argument));
        let Some((param, argument)) = refused else {
            return Ok(returns.of(arguments));
        };
        let wanted = param.name();
        problem = Some(format!(
            "cannot use {argument} as argument (type {wanted}) to call {name}"
        ));
    }
    let fewest = overloads.iter().map(|(params, _)| params.len()).min();
    Err(problem.unwrap_or_else(|| {
        let count = if arguments.len() < fewest.unwrap_or(0) {
            "not enough"
        } else {
            "too many"
        };
        format!("{count} arguments to call {name}")
    }))
}

/// Once a list is among the arguments, the rest is known only when evaluated.
fn check_aggregate(name: &str, arguments: &[Type]) -> Result<Type, String> {
    let Some(first) = arguments.first() else {
        return Err(format!("not enough arguments to call {name}"));
    };
    for argument in arguments {
        if argument.is_any() || argument.is_list() {
            return Ok(Type::Any);
        }
        if !is_numeric(argument) {
            return Err(format!("invalid argument for {name} (type {argument})"));
        }
    }
    Ok(first.clone())
}

fn check_get(name: &str, arguments: &[Type]) -> Result<Type, String> {
    let [object, key] = arguments else {
        let found = arguments.len();
        return Err(format!(
            "invalid number of arguments to call {name} (expected 2, got {found})"
        ));
    };
    match object {
        Type::Any => Ok(Type::Any),
        Type::List(..) | Type::Bytes if matches!(key, Type::Int | Type::Any) => {
            Ok(object.element())
        }
        Type::List(..) | Type::Bytes => Err(format!("non-integer slice index {key}")),
        Type::Map(_) if key.is_any() || key.is_assignable_to(&object.key()) => Ok(object.element()),
        Type::Map(_) => Err(format!("cannot use {key} to get an element from {object}")),
        _ => Err(format!("type {object} does not support indexing")),
    }
}
