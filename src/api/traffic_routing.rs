//! What divides traffic between two versions: one type per router.

use std::collections::BTreeMap;

use serde_json::Value;

use super::reading::{Preserved, written};

written! {
    /// What divides the traffic. Several may be set; all are kept alike.
    pub struct TrafficRouting {
        optional {
            /// Istio `VirtualServices` and `DestinationRules`.
            istio: Option<IstioTrafficRouting>,
            /// Ingress NGINX.
            nginx: Option<NginxTrafficRouting>,
            /// AWS Load Balancer Controller.
            alb: Option<AlbTrafficRouting>,
            /// Service Mesh Interface.
            smi: Option<SmiTrafficRouting>,
            /// Ambassador (Emissary).
            ambassador: Option<AmbassadorTrafficRouting>,
            /// AWS App Mesh.
            app_mesh: Option<AppMeshTrafficRouting>,
            /// Traefik.
            traefik: Option<TraefikTrafficRouting>,
            /// Routes by header or mirror that the steps may set; the first goes before the next.
            managed_routes: Option<Vec<ManagedRoute>>,
            /// Apache APISIX.
            apisix: Option<ApisixTrafficRouting>,
            /// Plugins, by their names `owner/repository`, and their settings.
            #[schemars(with = "Preserved<()>")]
            plugins: BTreeMap<String, Value>,
            /// The weight of all traffic; only with nginx or plugins. Default: 100.
            max_traffic_weight: Option<i32>,
        }
    }
}

written! {
    /// A route that the steps may set.
    pub struct ManagedRoute {
        required {
            /// Name.
            name: String,
        }
    }
}

written! {
    /// Istio `VirtualServices` and `DestinationRules`.
    pub struct IstioTrafficRouting {
        optional {
            /// The `VirtualService`. Not together with `virtualServices`.
            virtual_service: Option<IstioVirtualService>,
            /// The `DestinationRule`, to divide by subsets instead of hosts.
            destination_rule: Option<IstioDestinationRule>,
            /// Several `VirtualServices`.
            virtual_services: Vec<IstioVirtualService>,
        }
    }
}

written! {
    /// A `VirtualService`, and its routes.
    pub struct IstioVirtualService {
        required {
            /// Its name, or `name.namespace`.
            name: String,
        }
        optional {
            /// Names of HTTP routes. Default: the only one.
            routes: Vec<String>,
            /// TLS routes.
            tls_routes: Vec<TlsRoute>,
            /// TCP routes.
            tcp_routes: Vec<TcpRoute>,
        }
    }
}

written! {
    /// A TLS route by what it matches.
    pub struct TlsRoute {
        optional {
            /// Port.
            port: Option<i64>,
            /// Server names.
            sni_hosts: Vec<String>,
        }
    }
}

written! {
    /// A TCP route by what it matches.
    pub struct TcpRoute {
        optional {
            /// Port.
            port: Option<i64>,
        }
    }
}

written! {
    /// A `DestinationRule` with a subset for each version.
    pub struct IstioDestinationRule {
        required {
            /// Its name.
            name: String,
            /// The new version's subset.
            canary_subset_name: String,
            /// The stable version's subset.
            stable_subset_name: String,
        }
        optional {
            /// More subsets, left alone.
            additional_subset_names: Vec<String>,
        }
    }
}

written! {
    /// Ingress NGINX: a second Ingress with canary annotations.
    pub struct NginxTrafficRouting {
        optional {
            /// Prefix of its annotations. Default: `nginx.ingress.kubernetes.io`.
            annotation_prefix: String,
            /// The Ingress of the stable version. Not together with `stableIngresses`.
            stable_ingress: String,
            /// Annotations of the second Ingress, without the prefix.
            additional_ingress_annotations: BTreeMap<String, String>,
            /// Several Ingresses.
            stable_ingresses: Vec<String>,
            /// Annotations of the second Ingress, with their own prefix.
            canary_ingress_annotations: BTreeMap<String, String>,
        }
    }
}

written! {
    /// AWS Load Balancer Controller: an action annotation of an Ingress.
    pub struct AlbTrafficRouting {
        required {
            /// Port of the Services.
            service_port: i32,
        }
        optional {
            /// The Ingress. Not together with `ingresses`.
            ingress: String,
            /// The Service that the Ingress names as its backend. Default: the stable one.
            root_service: String,
            /// Prefix of its annotations. Default: `alb.ingress.kubernetes.io`.
            annotation_prefix: String,
            /// Whether a client stays with one version.
            stickiness_config: Option<Stickiness>,
            /// Several Ingresses.
            ingresses: Vec<String>,
        }
    }
}

written! {
    /// Whether a client stays with one version.
    pub struct Stickiness {
        required {
            /// Whether it does.
            enabled: bool,
            /// For how many seconds; from 1 to 604800.
            duration_seconds: i64,
        }
    }
}

written! {
    /// Service Mesh Interface: a `TrafficSplit`.
    pub struct SmiTrafficRouting {
        optional {
            /// The Service that clients use. Default: the stable one.
            root_service: String,
            /// Name of the `TrafficSplit`. Default: the Rollout's.
            traffic_split_name: String,
        }
    }
}

written! {
    /// Ambassador (Emissary): a second Mapping.
    pub struct AmbassadorTrafficRouting {
        required {
            /// Names of the Mappings of the stable version; at least one.
            mappings: Vec<String>,
        }
    }
}

written! {
    /// AWS App Mesh: a virtual router and two virtual nodes.
    pub struct AppMeshTrafficRouting {
        optional {
            /// The virtual service.
            virtual_service: Option<AppMeshVirtualService>,
            /// The virtual node of each version.
            virtual_node_group: Option<AppMeshVirtualNodes>,
        }
    }
}

written! {
    /// A virtual service, and the routes of its router.
    pub struct AppMeshVirtualService {
        required {
            /// Its name.
            name: String,
        }
        optional {
            /// Names of routes. Default: the only one.
            routes: Vec<String>,
        }
    }
}

written! {
    /// The virtual node of each version.
    pub struct AppMeshVirtualNodes {
        required {
            /// The new version's.
            canary_virtual_node_ref: AppMeshVirtualNode,
            /// The stable version's.
            stable_virtual_node_ref: AppMeshVirtualNode,
        }
    }
}

written! {
    /// A virtual node.
    pub struct AppMeshVirtualNode {
        required {
            /// Its name.
            name: String,
        }
    }
}

written! {
    /// Traefik: a weighted service.
    pub struct TraefikTrafficRouting {
        required {
            /// Name of the `TraefikService`.
            weighted_traefik_service_name: String,
        }
    }
}

written! {
    /// Apache APISIX: an `ApisixRoute`.
    pub struct ApisixTrafficRouting {
        optional {
            /// The route.
            route: Option<ApisixRoute>,
        }
    }
}

written! {
    /// An `ApisixRoute`, and its rules.
    pub struct ApisixRoute {
        required {
            /// Its name.
            name: String,
        }
        optional {
            /// Names of rules. Default: the only one.
            rules: Vec<String>,
        }
    }
}
