//! The kinds of routes whose backends have weights.

use super::super::object::{Place, Resource};

/// Group and version of an API.
pub(super) type Api = (&'static str, &'static str);

/// The API group of routes.
const GROUP: &str = "gateway.networking.k8s.io";
/// The Gateway API.
pub(super) const V1: Api = (GROUP, "v1");
/// The Gateway API as it was for TCP and TLS routes for long.
pub(super) const V1ALPHA2: Api = (GROUP, "v1alpha2");
/// Linkerd brings an `HTTPRoute` of its own, which reads alike. Clusters may have either or both.
pub(super) const LINKERD: Api = ("policy.linkerd.io", "v1beta3");

/// A kind of route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteKind {
    Http,
    Grpc,
    Tcp,
    Tls,
}

impl RouteKind {
    /// As its objects say.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTPRoute",
            Self::Grpc => "GRPCRoute",
            Self::Tcp => "TCPRoute",
            Self::Tls => "TLSRoute",
        }
    }

    /// The reason of the Event that tells of a change.
    pub(super) fn updated(self) -> &'static str {
        match self {
            Self::Http => "UpdatedHTTPRoute",
            Self::Grpc => "UpdatedGRPCRoute",
            Self::Tcp => "UpdatedTCPRoute",
            Self::Tls => "UpdatedTLSRoute",
        }
    }

    /// The APIs in which an object is looked for, one after the other. Which of them a cluster serves
    /// depends on the release and channel of its Gateway API, and on Linkerd's.
    pub(super) fn apis(self) -> &'static [Api] {
        match self {
            Self::Http => &[V1, LINKERD],
            Self::Grpc => &[V1],
            Self::Tcp | Self::Tls => &[V1, V1ALPHA2],
        }
    }

    /// Whether its rules can match headers and mirror requests.
    pub(super) fn knows_requests(self) -> bool {
        match self {
            Self::Http | Self::Grpc => true,
            Self::Tcp | Self::Tls => false,
        }
    }

    pub(super) fn resource(self, (group, version): Api) -> Resource {
        Resource {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: self.name(),
            plural: match self {
                Self::Http => "httproutes",
                Self::Grpc => "grpcroutes",
                Self::Tcp => "tcproutes",
                Self::Tls => "tlsroutes",
            },
        }
    }

    pub(super) fn place(self, api: Api, namespace: &str, name: &str) -> Place {
        Place {
            resource: self.resource(api),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// All kinds of routes, in all their APIs.
pub(in super::super) fn resources() -> Vec<Resource> {
    let kinds = [
        RouteKind::Http,
        RouteKind::Grpc,
        RouteKind::Tcp,
        RouteKind::Tls,
    ];
    let all = kinds
        .into_iter()
        .flat_map(|kind| kind.apis().iter().map(move |api| kind.resource(*api)));
    all.collect()
}

/// Where a Service is.
pub(super) fn service(namespace: &str, name: &str) -> Place {
    Place {
        resource: Resource {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "Service",
            plural: "services",
        },
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}
