//! The hashes that name a pod template and a list of steps, as Argo Rollouts computes them, so that
//! its ReplicaSets are recognised.
//!
//! # How a version is recognised
//! A ReplicaSet belongs to the wanted version if it is the first of these that is there:
//!
//! 1. The one that `status.currentPodHash` names, as long as the Rollout, and the workload that it
//!    refers to, are what they were when the status was written. A hash that another version of a
//!    controller computed otherwise, or a template that a webhook has changed, makes no difference.
//!    The steps count as unchanged then, too.
//! 2. The one whose label `rollouts-pod-template-hash` is the hash of the template.
//! 3. The one whose label is the hash as controllers with Kubernetes libraries before 0.34 computed
//!    it (Argo Rollouts up to 1.8).
//! 4. The one whose template means the same once defaults are filled in and what the controller put
//!    into it (the label, anti-affinity, ephemeral metadata) is taken out. Of several, the one of
//!    `status.currentPodHash`, else the oldest. A ReplicaSet that this program has made says itself
//!    which template it was made for (`rollouts.verdict.dev/template`), so that it is neither lost
//!    nor mistaken for another when somebody has changed its template since.
//!
//! Its label, not the computed hash, is what the status then says. So ReplicaSets that Argo Rollouts
//! has made are taken over as they are: no pod is restarted, no ReplicaSet made.

use serde_json::Value;

use super::canonical;

/// The hash of a pod template: the value of the label `rollouts-pod-template-hash`.
///
/// A `collision_count` of 0 is not the same as none.
///
/// # Source
/// `utils/hash/hash.go` of Argo Rollouts: FNV-1a over Go's JSON of the template.
#[must_use]
pub fn pod_template_hash(template: &Value, collision_count: Option<i32>) -> String {
    counted_hash(canonical::pod_template(template), collision_count)
}

fn counted_hash(canonical: String, collision_count: Option<i32>) -> String {
    let mut bytes = canonical.into_bytes();
    if let Some(count) = collision_count {
        bytes.extend(count.to_le_bytes());
        bytes.extend([0; 4]);
    }
    encode(&bytes)
}

/// The same hash as controllers with older Kubernetes libraries (before 0.34) have computed it: they
/// wrote down that an object has no creation time.
pub(super) fn older_pod_template_hash(template: &Value, collision_count: Option<i32>) -> String {
    const UNTIMED: &str = r#""creationTimestamp":null"#;
    let text = canonical::pod_template(template)
        .replace(r#""metadata":{""#, &format!(r#""metadata":{{{UNTIMED},""#))
        .replace(r#""metadata":{}"#, &format!(r#""metadata":{{{UNTIMED}}}"#));
    counted_hash(text, collision_count)
}

/// A mark of what a template means to the API server; longer than a hash, so that two are the same
/// only if the templates are.
pub(super) fn mark(comparable: &str) -> String {
    let sum = (comparable.bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{sum:016x}")
}

/// The hash of a canary's steps; a blue-green Rollout has none.
#[must_use]
pub fn steps_hash(steps: &Value) -> String {
    encode(canonical::steps(steps).as_bytes())
}

/// The decimal digits of the sum in an alphabet that spells no words.
fn encode(bytes: &[u8]) -> String {
    const DIGITS: [char; 10] = ['4', '5', '6', '7', '8', '9', 'b', 'c', 'd', 'f'];
    let decimal = fnv_1a(bytes).to_string();
    decimal
        .bytes()
        .map(|digit| DIGITS[usize::from(digit - b'0')])
        .collect()
}

fn fnv_1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pod_templates_hash_as_argo_hashes_them() {
        let first = json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}});
        let second = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{
            "name": "web", "image": "nginx:1.25", "args": ["--q=a<b&c>d"],
            "ports": [{"containerPort": 8080, "name": "http"}],
            "resources": {"requests": {"memory": "1024Mi", "cpu": 0.5}, "limits": {"cpu": "1000m"}},
            "readinessProbe": {"httpGet": {"port": "http", "path": "/"}}}]}});
        let third = json!({"metadata": {"labels": {"tier": "x", "app": "web"},
            "annotations": {"z": "1", "a": "2"}}, "spec": {"hostNetwork": false,
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "initContainers": [{"name": "i", "image": "busybox"}],
            "containers": [{"name": "web", "image": "nginx:1.25",
                "env": [{"name": "A", "value": "1"}, {"name": "B"}]}],
            "terminationGracePeriodSeconds": 0}});
        let cases = [
            (json!({}), ["658c46c486", "6f9d9db974", "6746d5bbc"]),
            (first, ["7dc666b946", "f5fb7cdf8", "68db74476c"]),
            (second, ["844b76f7fc", "84fbcd5cd5", "697455f78d"]),
            (third, ["ccfd5444f", "fc5fc46fc", "7c446c95b4"]),
        ];
        for (template, expected) in cases {
            let hashes = [None, Some(0), Some(1)].map(|count| pod_template_hash(&template, count));
            assert_eq!(hashes, expected, "{template}");
        }
    }

    #[test]
    fn pod_templates_hash_as_older_controllers_hashed_them() {
        let template = json!({"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1.25"}]}});
        assert_eq!(older_pod_template_hash(&template, None), "7c4bd8fbf8");
        let claim = json!({"spec": {"containers": [{"args": ["\"metadata\":{\"a"]}], "volumes":
            [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"metadata": {"labels": {"a": "b"}}}}}]}});
        let timed = canonical::pod_template(&claim)
            .replacen(
                r#"{"metadata":{}"#,
                r#"{"metadata":{"creationTimestamp":null}"#,
                1,
            )
            .replacen(
                r#"{"metadata":{"labels"#,
                r#"{"metadata":{"creationTimestamp":null,"labels"#,
                1,
            );
        assert_eq!(
            older_pod_template_hash(&claim, Some(1)),
            counted_hash(timed, Some(1))
        );
    }

    #[test]
    fn steps_hash_as_argo_hashes_them() {
        let cases = [
            (json!(null), "5ffbfbbd64"),
            (json!([]), "5ffbfbbd64"),
            (json!([{"pause": {}}]), "6b9b86fbd5"),
            (json!([{"pause": {}}, {"pause": {}}]), "79c9b9f6bf"),
            (
                json!([{"setWeight": 20}, {"pause": {"duration": "1h"}}, {"setWeight": 40},
                    {"pause": {"duration": 10}}, {"pause": {}}]),
                "5f7cd5c8d7",
            ),
            (
                json!([{"setCanaryScale": {"replicas": 3}}, {"setHeaderRoute": {"name": "h",
                    "match": [{"headerName": "X-C", "headerValue": {"exact": "1"}}]}},
                    {"plugin": {"name": "org/p", "config": {"b": 1, "a": "x<y"}}}]),
                "76bcfdf786",
            ),
            (
                json!([{"setMirrorRoute": {"name": "m", "percentage": 35, "match":
                    [{"method": {"exact": "GET"}, "path": {"prefix": "/"}}]}},
                    {"setCanaryScale": {"matchTrafficWeight": true}}]),
                "65988db596",
            ),
        ];
        for (steps, expected) in cases {
            assert_eq!(steps_hash(&steps), expected, "{steps}");
        }
    }
}
