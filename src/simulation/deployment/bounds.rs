//! How far an update may go beyond the wanted number of pods, and below it.

use k8s_openapi::api::apps::v1::DeploymentSpec;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::revisions::replicas;

/// Pods above and below the wanted number that an update may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) surge: i32,
    pub(super) unavailable: i32,
}

pub(super) fn is_recreate(spec: &DeploymentSpec) -> bool {
    let strategy = spec
        .strategy
        .as_ref()
        .and_then(|strategy| strategy.type_.as_deref());
    strategy == Some("Recreate")
}

impl Bounds {
    pub(super) fn of(spec: &DeploymentSpec) -> Self {
        if is_recreate(spec) {
            return Self {
                surge: 0,
                unavailable: 0,
            };
        }
        let rolling = spec
            .strategy
            .as_ref()
            .and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter = IntOrString::String("25%".to_owned());
        let surge = rolling
            .and_then(|rolling| rolling.max_surge.as_ref())
            .unwrap_or(&quarter);
        let unavailable = rolling
            .and_then(|rolling| rolling.max_unavailable.as_ref())
            .unwrap_or(&quarter);
        let wanted = replicas(spec);
        let surge = resolve(surge, wanted, true);
        // Both could round to nothing, and then nothing could move.
        let unavailable = match (surge, resolve(unavailable, wanted, false)) {
            (0, 0) => 1,
            (_, unavailable) => unavailable.min(wanted),
        };
        Self { surge, unavailable }
    }
}

/// A number of pods, or a share of them.
fn resolve(bound: &IntOrString, total: i32, round_up: bool) -> i32 {
    match bound {
        IntOrString::Int(number) => (*number).max(0),
        IntOrString::String(text) => {
            let share = text
                .trim_end_matches('%')
                .parse::<i64>()
                .unwrap_or_default()
                .max(0);
            let rounding = if round_up { 99 } else { 0 };
            let pods = (i64::from(total) * share + rounding) / 100;
            i32::try_from(pods).unwrap_or(i32::MAX)
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::apps::v1::{DeploymentStrategy, RollingUpdateDeployment};

    use super::*;

    fn spec(replicas: i32, surge: IntOrString, unavailable: IntOrString) -> DeploymentSpec {
        DeploymentSpec {
            replicas: Some(replicas),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(surge),
                    max_unavailable: Some(unavailable),
                }),
            }),
            ..DeploymentSpec::default()
        }
    }

    fn percent(text: &str) -> IntOrString {
        IntOrString::String(text.to_owned())
    }

    #[test]
    fn bounds_round_so_that_something_can_move() {
        let cases = [
            (spec(10, percent("25%"), percent("25%")), 3, 2),
            (spec(1, percent("25%"), percent("25%")), 1, 0),
            (spec(4, IntOrString::Int(0), percent("10%")), 0, 1),
            (spec(3, IntOrString::Int(2), IntOrString::Int(9)), 2, 3),
            (spec(0, percent("25%"), percent("25%")), 0, 1),
        ];
        for (spec, surge, unavailable) in cases {
            assert_eq!(Bounds::of(&spec), Bounds { surge, unavailable }, "{spec:?}");
        }
        let default = DeploymentSpec {
            replicas: Some(10),
            ..DeploymentSpec::default()
        };
        assert_eq!(
            Bounds::of(&default),
            Bounds {
                surge: 3,
                unavailable: 2
            }
        );
    }
}
