//! What makes a pair of spec and status a kind that `kube` can list, watch and write.

/// The API group of all kinds here.
pub const GROUP: &str = "argoproj.io";

/// Their only version.
pub const VERSION: &str = "v1alpha1";

/// Group and version, as in `apiVersion`.
pub const API_VERSION: &str = "argoproj.io/v1alpha1";

/// Declares a kind: its object, and how it reads and writes as JSON.
macro_rules! kind {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($plural:literal, $scope:ident) {
            spec: $spec:ty $(, status: $status:ty)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq)]
        pub struct $name {
            /// Name, namespace, labels and so on.
            pub metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
            /// What is wanted.
            pub spec: $spec,
            $(
                /// What was observed; `None` before the first pass.
                pub status: Option<$status>,
            )?
            /// Parts that could not be read and count as absent; never written.
            pub unreadable: Vec<crate::api::Unreadable>,
        }

        impl $name {
            /// The plural, as in URLs and the CRD's name.
            pub const PLURAL: &'static str = $plural;

            /// A new object with a name and a spec.
            #[must_use]
            pub fn new(name: &str, spec: $spec) -> Self {
                let metadata = k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                    name: Some(name.to_owned()),
                    ..Default::default()
                };
                Self { metadata, spec, ..Self::default() }
            }
        }

        impl kube::Resource for $name {
            type DynamicType = ();
            type Scope = kube::core::$scope;

            fn kind((): &()) -> std::borrow::Cow<'_, str> {
                stringify!($name).into()
            }

            fn group((): &()) -> std::borrow::Cow<'_, str> {
                crate::api::GROUP.into()
            }

            fn version((): &()) -> std::borrow::Cow<'_, str> {
                crate::api::VERSION.into()
            }

            fn plural((): &()) -> std::borrow::Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(
                &mut self,
            ) -> &mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                &mut self.metadata
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeStruct as _;
                let mut object = serializer.serialize_struct(stringify!($name), 5)?;
                object.serialize_field("apiVersion", crate::api::API_VERSION)?;
                object.serialize_field("kind", stringify!($name))?;
                object.serialize_field("metadata", &self.metadata)?;
                object.serialize_field("spec", &self.spec)?;
                $(
                    if let Some(status) = &self.status as &Option<$status> {
                        object.serialize_field("status", status)?;
                    }
                )?
                object.end()
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let raw = crate::api::kind::Raw::deserialize(deserializer)?;
                let mut unreadable = Vec::new();
                Ok(Self {
                    metadata: raw.metadata,
                    spec: crate::api::reading::read("spec", raw.spec, &mut unreadable),
                    $(
                        status: raw.status.map(|status| -> $status {
                            crate::api::reading::read("status", status, &mut unreadable)
                        }),
                    )?
                    unreadable,
                })
            }
        }
    };
}

/// An object as it came, before its spec and status are understood.
#[derive(serde::Deserialize)]
pub(crate) struct Raw {
    #[serde(default)]
    pub(crate) metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    #[serde(default)]
    pub(crate) spec: serde_json::Value,
    #[serde(default)]
    pub(crate) status: Option<serde_json::Value>,
}

pub(crate) use kind;
