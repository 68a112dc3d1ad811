//! Objects as rules see them: each value of the type that its schema says.
//!
//! # Source
//! `pkg/cel/common/valuesunstructured.go` of Kubernetes.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cel::ExecutionError;
use cel::common::traits::{Adder, Container, Indexer, Iterable, Sizer, Zeroer};
use cel::common::types::{
    CelBool, CelBytes, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelNull, CelString, CelUInt,
    Type,
};
use cel::common::value::{Builtin, BuiltinRef, CowVal, Val};
use serde_json::{Map, Number, Value};

use super::functions;
use super::names;
use crate::apiserver::schema::{ListKind, Schema, Shape};

/// A value of an object for the rules. With `root`, it has the fields that every object has.
pub(super) fn of<'v>(schema: &Schema, value: &'v Value, root: bool) -> Box<dyn Val + 'v> {
    match (value, schema.shape) {
        (Value::Array(items), Shape::Array) => list(schema, items),
        (Value::Object(fields), Shape::Object) => match &schema.additional {
            Some(values) => entries(values, fields),
            None => object(schema, fields, root),
        },
        (Value::Number(number), Shape::Number) => {
            Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN)))
        }
        (Value::String(text), Shape::String) => formatted(schema.format(), text),
        _ => untyped(value),
    }
}

fn list<'v>(schema: &Schema, items: &'v [Value]) -> Box<dyn Val + 'v> {
    let converted: Vec<Box<dyn Val + 'v>> = items
        .iter()
        .map(|item| match &schema.items {
            Some(item_schema) => of(item_schema, item, item_schema.embedded),
            None => untyped(item),
        })
        .collect();
    let list = CelList::from(converted);
    let keys = match &schema.list {
        ListKind::Atomic => return Box::new(list),
        ListKind::Set => Vec::new(),
        ListKind::Map(keys) => keys
            .iter()
            .map(|key| names::escaped(key).unwrap_or_else(|| key.clone()))
            .collect(),
    };
    Box::new(Keyed { list, keys })
}

fn entries<'v>(schema: &Schema, fields: &'v Map<String, Value>) -> Box<dyn Val + 'v> {
    let converted = fields.iter().map(|(key, value)| {
        let key = CelMapKey::String(CelString::from(key.as_str()));
        (key, of(schema, value, schema.embedded))
    });
    Box::new(CelMap::from(converted.collect::<HashMap<_, _>>()))
}

/// An object's fields by the names that rules use; those without a value are absent.
fn object<'v>(schema: &Schema, fields: &'v Map<String, Value>, root: bool) -> Box<dyn Val + 'v> {
    let mut converted = HashMap::with_capacity(fields.len());
    for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
        let known = schema.properties.get(name);
        let meta = root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
        let value = match known.filter(|_| !meta) {
            Some(property) => of(property, value, property.embedded),
            None => untyped(value),
        };
        let key = names::escaped(name).unwrap_or_else(|| name.clone());
        converted.insert(CelMapKey::String(CelString::from(key)), value);
    }
    Box::new(CelMap::from(converted))
}

fn formatted<'v>(format: &str, text: &'v str) -> Box<dyn Val + 'v> {
    let special = match format {
        "byte" => STANDARD
            .decode(text)
            .ok()
            .map(|bytes| -> Box<dyn Val + 'v> { Box::new(CelBytes::from(bytes)) }),
        "duration" => functions::converted("duration", text),
        "date-time" => functions::converted("timestamp", text),
        "date" => functions::converted("timestamp", &format!("{text}T00:00:00Z")),
        _ => None,
    };
    special.unwrap_or_else(|| Box::new(CelString::from(text)))
}

/// A value as JSON has it.
fn untyped<'v>(value: &'v Value) -> Box<dyn Val + 'v> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(value) => Box::new(CelBool::from(*value)),
        Value::Number(value) => number(value),
        Value::String(text) => Box::new(CelString::from(text.as_str())),
        Value::Array(items) => {
            let items: Vec<Box<dyn Val + 'v>> = items.iter().map(untyped).collect();
            Box::new(CelList::from(items))
        }
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let key = CelMapKey::String(CelString::from(key.as_str()));
                (key, untyped(value))
            });
            Box::new(CelMap::from(fields.collect::<HashMap<_, _>>()))
        }
    }
}

fn number<'v>(number: &Number) -> Box<dyn Val + 'v> {
    if let Some(whole) = number.as_i64() {
        return Box::new(CelInt::from(whole));
    }
    match number.as_u64() {
        Some(whole) => Box::new(CelUInt::from(whole)),
        None => Box::new(CelDouble::from(number.as_f64().unwrap_or(f64::NAN))),
    }
}

/// A list whose items are known by their keys, or as a whole if it is a set: their order means
/// nothing to `==`, and `+` replaces.
#[derive(Debug, Clone)]
struct Keyed<'v> {
    list: CelList<'v>,
    /// None for a set.
    keys: Vec<String>,
}

impl Keyed<'_> {
    fn same(&self, a: &dyn Val, b: &dyn Val) -> bool {
        if self.keys.is_empty() {
            return a.equals(b);
        }
        self.keys.iter().all(|name| {
            let name = CelString::from(name.as_str());
            let a = a.as_indexer().and_then(|fields| fields.get(&name).ok());
            let b = b.as_indexer().and_then(|fields| fields.get(&name).ok());
            match (a, b) {
                (Some(a), Some(b)) => a.equals(&*b),
                (None, None) => true,
                _ => false,
            }
        })
    }
}

impl Val for Keyed<'_> {
    fn get_type(&self) -> &Type {
        self.list.get_type()
    }

    fn cel_type() -> &'static Type {
        <CelList<'_> as Val>::cel_type()
    }

    fn as_adder<'b, 'w>(&'b self) -> Option<&'b (dyn Adder + 'w)>
    where
        Self: 'w,
    {
        Some(self)
    }

    fn as_container(&self) -> Option<&dyn Container> {
        self.list.as_container()
    }

    fn as_indexer<'b, 'w>(&'b self) -> Option<&'b (dyn Indexer + 'w)>
    where
        Self: 'w,
    {
        self.list.as_indexer()
    }

    fn into_indexer<'w>(self: Box<Self>) -> Option<Box<dyn Indexer + 'w>>
    where
        Self: 'w,
    {
        Box::new(self.list).into_indexer()
    }

    fn as_iterable<'b, 'w>(&'b self) -> Option<&'b (dyn Iterable + 'w)>
    where
        Self: 'w,
    {
        self.list.as_iterable()
    }

    fn as_sizer(&self) -> Option<&dyn Sizer> {
        self.list.as_sizer()
    }

    fn as_zeroer(&self) -> Option<&dyn Zeroer> {
        self.list.as_zeroer()
    }

    fn equals(&self, other: &dyn Val) -> bool {
        let Some(other) = other.downcast_ref::<CelList>() else {
            return false;
        };
        let (ours, others) = (self.list.inner(), other.inner());
        let held = |item: &dyn Val, items: &[Box<dyn Val + '_>]| {
            let same = items.iter().find(|other| self.same(item, &***other));
            same.is_some_and(|other| item.equals(&**other))
        };
        ours.len() == others.len()
            && ours.iter().all(|item| held(&**item, others))
            && others.iter().all(|item| held(&**item, ours))
    }

    fn clone_as_boxed<'w>(&self) -> Box<dyn Val + 'w>
    where
        Self: 'w,
    {
        Box::new(self.clone())
    }

    // What looks for a plain list finds one.
    fn as_builtin<'b, 'w>(&'b self) -> BuiltinRef<'b, 'w>
    where
        Self: 'w,
    {
        BuiltinRef::List(&self.list)
    }

    fn into_builtin<'w>(self: Box<Self>) -> Option<Builtin<'w>>
    where
        Self: 'w,
    {
        Some(Builtin::List(self.list))
    }
}

impl Adder for Keyed<'_> {
    fn add<'b, 'w>(&'b self, other: &(dyn Val + 'w)) -> Result<CowVal<'b, 'w>, ExecutionError>
    where
        Self: 'w,
    {
        let added = other.downcast_ref::<CelList<'w>>();
        let added = added.ok_or_else(|| ExecutionError::no_such_overload("_+_", Vec::new()))?;
        let mut items: Vec<Box<dyn Val + 'w>> = self
            .list
            .inner()
            .iter()
            .map(|item| item.clone_as_boxed())
            .collect();
        for item in added.inner() {
            match items.iter_mut().find(|old| self.same(&***old, &**item)) {
                Some(old) => *old = item.clone(),
                None => items.push(item.clone()),
            }
        }
        Ok(CowVal::owned(CelList::from(items)))
    }
}
