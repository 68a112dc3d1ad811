//! What a command sends about one object, and what comes of it.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use super::kind::{Known, resource};
use super::{Around, Error, names};
use crate::rollout::operations::Promotion;

/// What is sent about one object.
#[derive(Debug, Clone)]
pub(super) enum Patches {
    /// To its status.
    Status(Value),
    /// To itself.
    Object(Value),
    /// To its status, then to itself, or to neither.
    Promotion(Promotion),
}

impl Patches {
    /// Sends them; answers the object as it is then, if there was anything to send.
    pub(super) async fn send<K: Known>(
        &self,
        around: &Around,
        name: &str,
    ) -> Result<Option<DynamicObject>, Error> {
        match self {
            Self::Status(patch) => to_status::<K>(around, name, patch, patch).await.map(Some),
            Self::Object(patch) => to_object::<K>(around, name, patch).await.map(Some),
            Self::Promotion(promotion) => {
                let mut sent = None;
                if let Some(patch) = &promotion.status {
                    sent = Some(to_status::<K>(around, name, patch, &promotion.unified).await?);
                }
                if let Some(patch) = &promotion.object {
                    sent = Some(to_object::<K>(around, name, patch).await?);
                }
                Ok(sent)
            }
        }
    }

    /// The object as it would be; nothing is sent.
    pub(super) async fn tried<K: Known>(
        &self,
        around: &Around,
        name: &str,
    ) -> Result<DynamicObject, Error> {
        let kind = resource::<K>();
        let read = around.cluster.read(&kind, &around.namespace, name);
        let object = match read.await {
            Ok(object) => object,
            Err(error) => return Err(names::explained::<K>(around, name, error).await),
        };
        let mut object = serde_json::to_value(object).expect("an object has only string keys");
        for patch in self.all() {
            json_patch::merge(&mut object, patch);
        }
        serde_json::from_value(object)
            .map_err(|error| Error::new(format!("cannot read what {name:?} would be: {error}")))
    }

    /// In words: what is not sent when it is only tried.
    pub(super) fn told(&self) -> Value {
        match self {
            Self::Status(patch) | Self::Object(patch) => patch.clone(),
            Self::Promotion(_) => json!(self.all()),
        }
    }

    fn all(&self) -> Vec<&Value> {
        match self {
            Self::Status(patch) | Self::Object(patch) => vec![patch],
            Self::Promotion(Promotion { status, object, .. }) => {
                status.iter().chain(object).collect()
            }
        }
    }
}

async fn to_object<K: Known>(
    around: &Around,
    name: &str,
    patch: &Value,
) -> Result<DynamicObject, Error> {
    let (kind, cluster) = (resource::<K>(), &around.cluster);
    let sent = cluster.merge_untyped(&kind, &around.namespace, name, patch);
    match sent.await {
        Ok(object) => Ok(object),
        Err(error) => Err(names::explained::<K>(around, name, error).await),
    }
}

async fn to_status<K: Known>(
    around: &Around,
    name: &str,
    patch: &Value,
    otherwise: &Value,
) -> Result<DynamicObject, Error> {
    let (kind, cluster) = (resource::<K>(), &around.cluster);
    let sent = cluster.merge_status_untyped(&kind, &around.namespace, name, patch, otherwise);
    match sent.await {
        Ok(object) => Ok(object),
        Err(error) => Err(names::explained::<K>(around, name, error).await),
    }
}
