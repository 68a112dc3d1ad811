//! Server-side apply: an object gets the fields that a manager wants, loses those that it wanted
//! before and nobody else does, and keeps all others.
//!
//! # Source
//! `Updater.Apply` of `sigs.k8s.io/structured-merge-diff`.

use serde_json::{Value, json};

use super::admission;
use super::core::Core;
use super::failure::{Cause, Failure};
use super::fields::{self, Fields};
use super::managed::{self, Owner, Write};
use super::request::{Target, WriteOptions};
use super::resources::Resource;
use super::shaping;
use super::writing::{self, Part, Sent, Written};

/// Makes an object have the fields that a manager wants it to have. `named` says whether the
/// request named the manager, as it must.
pub(super) fn apply(
    core: &Core,
    resource: &Resource,
    target: &Target,
    part: Part,
    applied: &Value,
    named: bool,
    options: &WriteOptions,
) -> Result<Written, Failure> {
    if !named {
        let cause = Cause::required("fieldManager", "is required for apply patch");
        return Err(Failure::invalid_options("PatchOptions", &[cause]));
    }
    let mut wanted = applied.clone();
    admission::check_kind(resource, &mut wanted)?;
    if wanted["metadata"]
        .get("managedFields")
        .is_some_and(|m| !m.is_null())
    {
        return Err(Failure::bad_request("metadata.managedFields must be nil"));
    }
    let unknown = shaping::prune(&resource.schema, &mut wanted);
    let mut set = Fields::of(&resource.schema, &wanted);
    match part {
        Part::Main if resource.status => set.retain_top(|name| name != "status"),
        Part::Main => {}
        Part::Status | Part::Finalize => set.retain_top(|name| name == "status"),
    }
    let apply = Apply {
        core,
        resource,
        part,
        wanted,
        set,
        options,
    };
    let how = Write::Applied;
    if core.object(resource, &target.key()).is_none() {
        if part != Part::Main {
            let name = target.name.as_deref().unwrap_or_default();
            return Err(Failure::not_found(resource, name));
        }
        let object = apply.first();
        // Unknown fields are told once, from the object as it was sent.
        let duplicates = unknown_as_sent(&unknown);
        let mut written = writing::create(
            core,
            resource,
            target,
            Sent {
                object,
                duplicates: Vec::new(),
            },
            options,
            how,
        )?;
        written.warnings.extend(duplicates);
        return Ok(written);
    }
    let mut written = writing::change(core, resource, target, part, options, how, |before| {
        apply.onto(before).map(|object| Sent {
            object,
            duplicates: Vec::new(),
        })
    })?;
    written.warnings.extend(unknown_as_sent(&unknown));
    Ok(written)
}

fn unknown_as_sent(unknown: &[String]) -> Vec<String> {
    unknown
        .iter()
        .map(|path| format!("unknown field \"{path}\""))
        .collect()
}

/// One apply.
struct Apply<'a> {
    core: &'a Core,
    resource: &'a Resource,
    part: Part,
    /// What was sent, without what the schema does not know.
    wanted: Value,
    set: Fields,
    options: &'a WriteOptions,
}

impl Apply<'_> {
    fn owner(&self) -> Owner {
        Owner {
            manager: self.options.manager.clone(),
            operation: "Apply".to_owned(),
            api_version: self.resource.api_version(),
            subresource: self.part.subresource().to_owned(),
            time: managed::now(self.core),
            fields: self.set.clone(),
        }
    }

    fn is_own(&self, owner: &Owner) -> bool {
        owner.is(&self.options.manager, "Apply", self.part.subresource())
    }

    /// The object that did not exist before.
    fn first(&self) -> Value {
        let mut object = self.wanted.clone();
        managed::set_owners(&mut object, vec![self.owner()]);
        object
    }

    /// The object that `before` becomes.
    fn onto(&self, before: &Value) -> Result<Value, Failure> {
        let schema = &self.resource.schema;
        let owners = managed::owners(before);
        let (own, mut others): (Vec<Owner>, Vec<Owner>) =
            owners.into_iter().partition(|owner| self.is_own(owner));
        let last = own
            .first()
            .map(|owner| owner.fields.clone())
            .unwrap_or_default();
        let mut object = before.clone();
        fields::merge(schema, &mut object, &self.wanted);
        let mut kept = self.set.clone();
        for other in &others {
            kept.extend(&other.fields);
        }
        let gone = last.difference(&kept);
        fields::remove(schema, &mut object, &gone, &kept);
        self.settle(before, &object, &mut others)?;
        let mut owner = self.owner();
        if let Some(old) = own.first().filter(|old| old.fields == owner.fields) {
            owner.time.clone_from(&old.time);
        }
        others.push(owner);
        managed::set_owners(&mut object, others);
        Ok(object)
    }

    /// Takes what changes from its owners, or refuses if that is not wanted.
    fn settle(&self, before: &Value, after: &Value, others: &mut [Owner]) -> Result<(), Failure> {
        let schema = &self.resource.schema;
        let taken = fields::changed(schema, before, after).intersection(&self.set);
        let gone = Fields::of(schema, before).difference(&Fields::of(schema, after));
        let mut conflicts = Vec::new();
        for other in others.iter_mut() {
            let lost = other.fields.intersection(&taken);
            conflicts.extend(lost.told().into_iter().map(|field| (told(other), field)));
            other.fields = other.fields.difference(&taken).difference(&gone);
        }
        if conflicts.is_empty() || self.options.force {
            return Ok(());
        }
        Err(Failure::apply_conflict(&conflicts))
    }
}

/// A manager as a conflict names it.
fn told(owner: &Owner) -> String {
    let name = json!(owner.manager);
    if owner.operation == "Apply" {
        return name.to_string();
    }
    let subresource = match owner.subresource.as_str() {
        "" => String::new(),
        name => format!(" with subresource \"{name}\""),
    };
    format!("{name}{subresource} using {}", owner.api_version)
}
