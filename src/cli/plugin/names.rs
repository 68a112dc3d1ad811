//! A name that is not there: was another one meant?

use kube::ResourceExt as _;
use kube::api::ListParams;

use super::kind::{Known, resource};
use super::{Around, Error};
use crate::cluster;

/// The error of a request about an object; if there is none of that name, with one that may be
/// meant.
pub(super) async fn explained<K: Known>(
    around: &Around,
    name: &str,
    error: cluster::Error,
) -> Error {
    let is_missing = error.is_not_found();
    let told = Error::from(error);
    if is_missing {
        told.maybe_hint(suggestion::<K>(around, name).await)
    } else {
        told
    }
}

/// That there is no object of that name, as readers of a cache say it: in the singular.
pub(super) async fn missing<K: Known>(around: &Around, name: &str) -> Error {
    let text = format!("{}.argoproj.io {name:?} not found", K::SINGULAR);
    Error::new(text).maybe_hint(suggestion::<K>(around, name).await)
}

/// What may be meant: a name like it, or the same name in another namespace.
async fn suggestion<K: Known>(around: &Around, name: &str) -> Option<String> {
    let kind = resource::<K>();
    let here = Some(around.namespace.as_str());
    let params = ListParams::default();
    let names = around.cluster.find(&kind, here, &params).await.ok()?;
    let names: Vec<String> = names.iter().map(kube::ResourceExt::name_any).collect();
    if let Some(like) = closest(name, &names) {
        return Some(format!("did you mean `{like}`?"));
    }
    let same = params.fields(&format!("metadata.name={name}"));
    let elsewhere = around.cluster.find(&kind, None, &same).await;
    let found = elsewhere
        .ok()
        .and_then(|found| found.items.into_iter().next());
    if let Some(namespace) = found.and_then(|found| found.namespace()) {
        return Some(format!("there is one in another namespace: -n {namespace}"));
    }
    let word = K::SINGULAR;
    Some(match names.as_slice() {
        [] => format!("there are no {word}s in namespace `{}`", around.namespace),
        names if names.len() <= 5 => {
            format!("namespace `{}` has {}", around.namespace, names.join(", "))
        }
        names => format!(
            "namespace `{}` has {} {word}s; `{} list {word}s` shows them",
            around.namespace,
            names.len(),
            around.program.typed()
        ),
    })
}

/// The name that is most like another one, if any is like it at all.
fn closest<'a>(wanted: &str, names: &'a [String]) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(wanted, name);
    let best = names
        .iter()
        .max_by(|one, other| likeness(one).total_cmp(&likeness(other)))?;
    (likeness(best) > 0.8).then_some(best.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_suggested_only_if_it_is_like_the_other() {
        let names = ["checkout", "cart", "web"].map(str::to_owned);
        let cases = [
            ("chekout", Some("checkout")),
            ("web1", Some("web")),
            ("carts", Some("cart")),
            ("payments", None),
        ];
        for (wanted, suggested) in cases {
            assert_eq!(closest(wanted, &names), suggested, "{wanted}");
        }
        assert_eq!(closest("web", &[]), None);
    }
}
