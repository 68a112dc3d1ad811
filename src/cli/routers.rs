//! The part of `verdict controller`'s command line that is about the objects of traffic routers.

use clap::Args;

use crate::traffic_routers::Versions;

#[derive(Debug, Args)]
#[command(next_help_heading = "Traffic routers")]
pub(super) struct RouterArgs {
    /// The version of Istio's `VirtualServices` and `DestinationRules`
    #[arg(long, value_name = "VERSION", default_value = "v1alpha3")]
    istio_api_version: String,

    /// The version of SMI's `TrafficSplits`
    #[arg(
        long,
        value_name = "VERSION",
        default_value = "v1alpha1",
        value_parser = ["v1alpha1", "v1alpha2", "v1alpha3"]
    )]
    traffic_split_api_version: String,

    /// Group and version of Ambassador's Mappings
    #[arg(long, value_name = "GROUP/VERSION", default_value = "getambassador.io/v2", value_parser = group_version)]
    ambassador_api_version: (String, String),

    /// The version of App Mesh's kinds
    #[arg(long, value_name = "VERSION", default_value = "v1beta2")]
    appmesh_crd_version: String,

    /// The group of `TraefikServices`
    #[arg(long, value_name = "GROUP", default_value = "traefik.io")]
    traefik_api_group: String,

    /// Version, or group and version, of `TraefikServices`; the group is that of
    /// `--traefik-api-group`
    #[arg(
        long,
        value_name = "GROUP/VERSION",
        default_value = "traefik.io/v1alpha1"
    )]
    traefik_api_version: String,

    /// A class of Ingresses that NGINX serves; may be given several times. Classes with `nginx` in
    /// their name need not be listed
    #[arg(
        long,
        value_name = "CLASS",
        value_delimiter = ',',
        default_value = "nginx"
    )]
    nginx_ingress_classes: Vec<String>,

    /// A class of Ingresses that AWS Load Balancer Controller serves; may be given several times
    #[arg(
        long,
        value_name = "CLASS",
        value_delimiter = ',',
        default_value = "alb"
    )]
    alb_ingress_classes: Vec<String>,

    /// Ask AWS whether its load balancers have the weights, before a step goes on: with credentials
    /// from the environment, a service account's role or the instance
    #[arg(long, alias = "alb-verify-weight")]
    pub(super) aws_verify_target_group: bool,

    /// Group and version of AWS Load Balancer Controller's `TargetGroupBindings`
    #[arg(long, value_name = "GROUP/VERSION", default_value = "elbv2.k8s.aws/v1beta1", value_parser = group_version)]
    aws_target_group_binding_api_version: (String, String),

    /// The tag by which target groups say what they belong to
    #[arg(long, value_name = "TAG", default_value = "ingress.k8s.aws/resource")]
    alb_tag_key_resource_id: String,
}

fn group_version(text: &str) -> Result<(String, String), String> {
    let (group, version) = text.split_once('/').ok_or("expected GROUP/VERSION")?;
    Ok((group.to_owned(), version.to_owned()))
}

impl RouterArgs {
    pub(super) fn versions(&self) -> Versions {
        // As in Argo Rollouts, only what follows the slash counts.
        let traefik = self.traefik_api_version.rsplit('/').next();
        Versions {
            istio: self.istio_api_version.clone(),
            smi: self.traffic_split_api_version.clone(),
            ambassador: self.ambassador_api_version.clone(),
            app_mesh: self.appmesh_crd_version.clone(),
            traefik: (
                self.traefik_api_group.clone(),
                traefik.unwrap_or_default().to_owned(),
            ),
            nginx_ingress_classes: self.nginx_ingress_classes.clone(),
            alb_ingress_classes: self.alb_ingress_classes.clone(),
            alb_verified_by_tag: self
                .aws_verify_target_group
                .then(|| self.alb_tag_key_resource_id.clone()),
            target_group_bindings: self
                .aws_verify_target_group
                .then(|| self.aws_target_group_binding_api_version.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        routers: RouterArgs,
    }

    fn versions(args: &[&str]) -> Versions {
        let args = ["verdict"].iter().chain(args);
        Command::try_parse_from(args).unwrap().routers.versions()
    }

    #[test]
    fn versions_are_as_argo_has_them_unless_said_otherwise() {
        assert_eq!(versions(&[]), Versions::default());
        let said = versions(&[
            "--istio-api-version=v1",
            "--traffic-split-api-version=v1alpha3",
            "--ambassador-api-version=x.getambassador.io/v3alpha1",
            "--appmesh-crd-version=v1",
            "--traefik-api-group=traefik.containo.us",
            "--traefik-api-version=traefik.containo.us/v1",
            "--nginx-ingress-classes=web,api",
            "--nginx-ingress-classes=more",
            "--alb-ingress-classes=inner",
            "--alb-verify-weight",
            "--aws-target-group-binding-api-version=eks.amazonaws.com/v1",
            "--alb-tag-key-resource-id=mine",
        ]);
        let pair = |group: &str, version: &str| (group.to_owned(), version.to_owned());
        let expected = Versions {
            istio: "v1".to_owned(),
            smi: "v1alpha3".to_owned(),
            ambassador: pair("x.getambassador.io", "v3alpha1"),
            app_mesh: "v1".to_owned(),
            traefik: pair("traefik.containo.us", "v1"),
            nginx_ingress_classes: ["web", "api", "more"].map(str::to_owned).to_vec(),
            alb_ingress_classes: vec!["inner".to_owned()],
            alb_verified_by_tag: Some("mine".to_owned()),
            target_group_bindings: Some(pair("eks.amazonaws.com", "v1")),
        };
        assert_eq!(said, expected);
    }
}
