//! The kinds of routes whose backends have weights.

use super::super::object::{Place, Resource};

/// The API group of routes.
const GROUP: &str = "gateway.networking.k8s.io";

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

    /// Versions in which an object is looked for, one after the other. Which of them a cluster
    /// serves depends on the release and channel of its Gateway API: TCP and TLS routes were
    /// `v1alpha2` for long.
    pub(super) fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Http | Self::Grpc => &["v1"],
            Self::Tcp | Self::Tls => &["v1", "v1alpha2"],
        }
    }

    /// Whether its rules can match headers and mirror requests.
    pub(super) fn knows_requests(self) -> bool {
        match self {
            Self::Http | Self::Grpc => true,
            Self::Tcp | Self::Tls => false,
        }
    }

    pub(super) fn resource(self, version: &str) -> Resource {
        Resource {
            group: GROUP.to_owned(),
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

    pub(super) fn place(self, version: &str, namespace: &str, name: &str) -> Place {
        Place {
            resource: self.resource(version),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

/// All kinds of routes, in all their versions.
pub(in super::super) fn resources() -> Vec<Resource> {
    let kinds = [
        RouteKind::Http,
        RouteKind::Grpc,
        RouteKind::Tcp,
        RouteKind::Tls,
    ];
    let all = kinds.into_iter().flat_map(|kind| {
        let versions = kind.versions().iter();
        versions.map(move |version| kind.resource(version))
    });
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
