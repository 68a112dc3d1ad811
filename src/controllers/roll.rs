//! Who is gone: what is kept about an object beside the caches goes with it.

use std::collections::HashSet;

use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt as _};

/// An object that is or was there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// The objects that a watch has told of.
///
/// A watch that begins anew tells of no deletion in the meantime: the object is only missing from
/// its list.
#[derive(Debug, Default)]
pub(super) struct Roll {
    present: HashSet<Identity>,
    listed: HashSet<Identity>,
}

impl Roll {
    /// Takes note of an event; returns the objects that are gone since the one before.
    pub(super) fn take<K: Resource>(&mut self, event: &Event<K>) -> Vec<Identity> {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => drop(self.listed.insert(identity(object))),
            Event::InitDone => {
                let before = std::mem::replace(&mut self.present, std::mem::take(&mut self.listed));
                return before.difference(&self.present).cloned().collect();
            }
            Event::Apply(object) => drop(self.present.insert(identity(object))),
            Event::Delete(object) => {
                let identity = identity(object);
                self.present.remove(&identity);
                return vec![identity];
            }
        }
        Vec::new()
    }
}

fn identity(object: &impl Resource) -> Identity {
    Identity {
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn object(name: &str, uid: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.into());
        object.metadata.uid = Some(uid.into());
        object
    }

    #[test]
    fn an_object_is_gone_when_deleted_or_missing_from_the_next_list() {
        let mut roll = Roll::default();
        let mut gone = |event| -> Vec<String> {
            let gone = roll.take(&event);
            gone.into_iter().map(|identity| identity.uid).collect()
        };
        for event in [
            Event::Init,
            Event::InitApply(object("a", "1")),
            Event::InitApply(object("b", "2")),
            Event::InitDone,
            Event::Apply(object("c", "3")),
            Event::Apply(object("c", "3")),
        ] {
            assert!(gone(event).is_empty());
        }
        assert_eq!(gone(Event::Delete(object("b", "2"))), ["2"]);
        // `a` was made again while nobody watched, `c` stays.
        for event in [
            Event::Init,
            Event::InitApply(object("a", "4")),
            Event::InitApply(object("c", "3")),
        ] {
            assert!(gone(event).is_empty());
        }
        assert_eq!(gone(Event::InitDone), ["1"]);
    }
}
