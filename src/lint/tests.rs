//! What is found in manifests.

use super::*;
use crate::analysis::Templates;

const ROLLOUT: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: 'web:1'}]}
  strategy:
    canary:
      steps:
      - setWeight: 20
";

const TEMPLATE: &str = "\
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: rate}
spec:
  args:
  - name: service
  - {name: limit, value: '0.95'}
  - name: window
  - name: tries
  metrics:
  - name: rate
    interval: '{{args.window}}'
    count: '{{args.tries}}'
    successCondition: result[0] >= {{args.limit}}
    provider:
      prometheus:
        address: http://prometheus
        query: sum(rate(good{service=\"{{args.service}}\"}[{{args.window}}]))
";

/// `line severity field: message`, a finding each.
fn found(text: &str) -> Vec<String> {
    let documents = Document::read("f.yaml", text).unwrap();
    let findings = lint(&documents, &templates(&documents), false);
    let told = |it: &Finding| {
        let level = if it.severity == Severity::Error {
            "error"
        } else {
            "warning"
        };
        format!("{} {level} {}: {}", it.line, it.field, it.message)
    };
    findings.iter().map(told).collect()
}

fn assert_found(text: &str, expected: &[&str]) {
    let found = found(text);
    assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}\nis not\n{expected}");
    }
}

#[test]
fn nothing_is_wrong_with_what_is_right() {
    assert_found(ROLLOUT, &[]);
    assert_found(TEMPLATE, &[]);
}

#[test]
fn mistakes_of_a_rollout_are_found_with_their_lines() {
    let cases = [
        (
            ("setWeight: 20", "setWeight: 120"),
            "12 error spec.strategy.canary.steps[0].setWeight: Invalid value: 120: ",
        ),
        (
            ("setWeight: 20", "setWieght: 20"),
            "12 error spec.strategy.canary.steps[0].setWieght: json: unknown field \"setWieght\"",
        ),
        (
            (
                "      steps:",
                "      maxSurge: 0\n      maxUnavailable: 0\n      steps:",
            ),
            "11 error spec.strategy.canary.maxSurge: Invalid value: 0: MaxSurge and",
        ),
        (
            ("  selector: {matchLabels: {app: web}}\n", ""),
            "5 error spec.selector: Required value: Rollout has missing field '.spec.selector'",
        ),
    ];
    for ((from, to), expected) in cases {
        let found = found(&ROLLOUT.replace(from, to));
        assert!(
            found.iter().any(|it| it.starts_with(expected)),
            "{found:#?}\n{expected}"
        );
    }
}

#[test]
fn mistakes_of_a_template_are_found_whatever_its_arguments() {
    let cases = [
        (
            ("result[0] >= {{args.limit}}", "result[0 >= 1"),
            "14 error spec.metrics[0].successCondition: Invalid value: \"result[0 >= 1\"",
        ),
        (
            (
                "result[0] >= {{args.limit}}",
                "result[0 >= {{args.service}}",
            ),
            "14 error spec.metrics[0].successCondition: Invalid value",
        ),
        (
            ("'{{args.window}}'", "5 minutes"),
            "12 error spec.metrics[0].interval: Invalid value: \"5 minutes\"",
        ),
        (
            ("[{{args.window}}]))", "[{{args.window}}])"),
            "18 error spec.metrics[0].provider.prometheus.query: Invalid value: ",
        ),
    ];
    for ((from, to), expected) in cases {
        let found = found(&TEMPLATE.replace(from, to));
        assert!(
            found.iter().any(|it| it.starts_with(expected)),
            "{found:#?}\n{expected}"
        );
    }
    let misspelt = found(&TEMPLATE.replace("{{args.limit}}", "{{args.limmit}}"));
    assert!(
        misspelt
            .iter()
            .any(|it| it.contains("failed to resolve {{args.limmit}}")),
        "{misspelt:?}"
    );
}

#[test]
fn what_is_wrong_hides_nothing_else() {
    let text = TEMPLATE
        .replace(
            "result[0] >= {{args.limit}}",
            "result[0] >= {{args.limmit}} )",
        )
        .replace("'{{args.window}}'", "5 minutes")
        .replace("count: '{{args.tries}}'", "count: 2\n    failureLimit: 2");
    assert_found(
        &text,
        &[
            "15 error spec.metrics[0].successCondition: failed to resolve {{args.limmit}}",
            "12 error spec.metrics[0].interval: Invalid value: \"5 minutes\"",
            "15 error spec.metrics[0].successCondition: Invalid value: \"result[0] >= 1 )\"",
            "14 warning spec.metrics[0].failureLimit: Invalid value: 2: with count (2)",
        ],
    );
    let run = text.replace("AnalysisTemplate", "AnalysisRun");
    let found = found(&run);
    let missing = "error spec.args[0]: argument \"service\" was not supplied";
    assert!(found.iter().any(|it| it.contains(missing)), "{found:?}");
}

#[test]
fn a_mistake_in_a_condition_is_pointed_at() {
    let block = "|-\n      result[0] >= {{args.limit}} &&\n      result[0] < {{args.limit}} )";
    let cases = [
        ("result[0] >= 1 )", (14, 38), (14, 39), "result[0] >= 1 )\n"),
        ("\"result[0] \\u003e= 1 )\"", (14, 44), (14, 45), "1 )\"\n"),
        (
            block,
            (16, 34),
            (16, 35),
            "      result[0] < {{args.limit}} )\n",
        ),
    ];
    for (condition, start, end, line) in cases {
        let text = TEMPLATE.replace("result[0] >= {{args.limit}}", condition);
        let documents = Document::read("f.yaml", &text).unwrap();
        let found = lint(&documents, &templates(&documents), false);
        let it = &found[0];
        assert_eq!((it.line, it.column), start, "{it:?}");
        assert_eq!((it.end_line, it.end_column), (Some(end.0), Some(end.1)));
        let caret = format!("{}^", " ".repeat(usize::try_from(start.1).unwrap() - 1));
        assert!(it.excerpt.contains(line), "{}", it.excerpt);
        assert_eq!(it.excerpt.lines().nth(1), Some(caret.as_str()));
        let region =
            &sarif(&found)["runs"][0]["results"][0]["locations"][0]["physicalLocation"]["region"];
        let expected = serde_json::json!({
            "startLine": start.0, "startColumn": start.1, "endLine": end.0, "endColumn": end.1,
        });
        assert_eq!(*region, expected);
    }
    let alias = TEMPLATE
        .replace(
            "metadata: {name: rate}",
            "metadata: {name: rate, labels: {a: &x 'result[0] )'}}",
        )
        .replace("result[0] >= {{args.limit}}", "*x");
    let documents = Document::read("f.yaml", &alias).unwrap();
    let found = lint(&documents, &templates(&documents), false);
    assert_eq!(found[0].excerpt, "result[0] )\n          ^");
    assert_eq!((found[0].line, found[0].end_line), (14, None));
}

#[test]
fn items_of_a_list_are_judged_one_by_one() {
    let indented = |text: &str| text.replace('\n', "\n  ");
    let rollout = ROLLOUT.replace("setWeight: 20", "setWeight: 120");
    let text = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}\n- {}",
        indented(TEMPLATE).trim_end(),
        indented(&rollout).trim_end()
    );
    let line = text.lines().position(|it| it.contains("120")).unwrap() + 1;
    let expected =
        format!("{line} error spec.strategy.canary.steps[0].setWeight: Invalid value: 120");
    assert_found(&text, &[&expected]);
}

#[test]
fn a_limit_that_never_trips_is_warned_of() {
    let text = TEMPLATE
        .replace("'{{args.window}}'", "1m")
        .replace("count: '{{args.tries}}'", "count: 2\n    failureLimit: 2");
    assert_found(
        &text,
        &[
            "14 warning spec.metrics[0].failureLimit: Invalid value: 2: with count (2) <= failureLimit",
        ],
    );
}

#[test]
fn templates_are_looked_for_in_all_files() {
    let analysis = "- setWeight: 20\n      - analysis: {templates: [{templateName: rate}]}\n";
    let using = ROLLOUT.replace("- setWeight: 20\n", analysis);
    assert_found(
        &using,
        &[
            "13 warning spec.strategy.canary.steps[1].analysis.templates[0].templateName: Invalid value: \"rate\": \
            AnalysisTemplate 'rate' is in none of the files",
        ],
    );
    let both = format!("{using}---\n{TEMPLATE}");
    let found = found(&both);
    assert!(
        found
            .iter()
            .any(|it| it.contains("args.service was not resolved")),
        "{found:?}"
    );
    let documents = Document::read("f.yaml", &using).unwrap();
    let mut known = templates(&documents);
    for key in needed(&documents, &known) {
        known.insert(key, None);
    }
    let found = lint(&documents, &known, true);
    let expected = "Invalid value: \"rate\": AnalysisTemplate 'rate' not found";
    assert_eq!(found[0].message, expected);
    assert_eq!(found[0].severity, Severity::Error);
}

#[test]
fn a_background_template_may_be_endless_and_that_of_a_step_may_not() {
    let endless = TEMPLATE
        .replace("    count: '{{args.tries}}'\n", "")
        .replace("  - name: service\n", "  - {name: service, value: a}\n")
        .replace("  - name: window\n", "  - {name: window, value: 1m}\n")
        .replace("  - name: tries\n", "");
    let using = |analysis: &str| {
        format!(
            "{}---\n{endless}",
            ROLLOUT.replace("      steps:\n", analysis)
        )
    };
    let background = "      analysis: {templates: [{templateName: rate}]}\n      steps:\n";
    assert_found(&using(background), &[]);
    let step = "      steps:\n      - analysis: {templates: [{templateName: rate}]}\n";
    assert_found(
        &using(step),
        &[
            "12 error spec.strategy.canary.steps[0].analysis.templates: Invalid value: \"rate\": the \
            metric runs indefinitely",
        ],
    );
}

#[test]
fn services_and_routes_must_fit_the_rollout() {
    let named = ROLLOUT.replace(
        "      steps:",
        "      canaryService: svc\n      stableService: stable\n      trafficRouting:\n        \
         nginx: {stableIngress: in}\n        istio: {virtualService: {name: vs}}\n      steps:",
    );
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: svc}\n\
        spec: {selector: {app: other}}\n";
    let ingress = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: in}\nspec:\n  \
        rules: [{http: {paths: [{backend: {service: {name: other}}}]}}]\n";
    let routes = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs}\n\
        spec: {http: [{route: [{destination: {host: stable}}]}]}\n";
    let found = found(&[&named, service, ingress, routes].join("---\n"));
    for expected in [
        "11 error spec.strategy.canary.canaryService: Invalid value: \"svc\": Service \"svc\" has \
         unmatch label \"app\" in rollout",
        "14 error spec.strategy.canary.trafficRouting.nginx.stableIngress: Invalid value: \"in\": \
         ingress `in` has no rules using service stable backend",
        "15 error spec.strategy.canary.trafficRouting.istio.virtualService.name: Invalid value: \
         \"vs\": Istio VirtualService has invalid HTTP routes. Error: Canary Service 'svc' not found in route",
    ] {
        assert!(
            found.iter().any(|it| it == expected),
            "{found:#?}\n{expected}"
        );
    }
}

#[test]
fn a_form_for_code_hosts_names_file_and_line() {
    let text = ROLLOUT.replace("setWeight: 20", "setWeight: 120");
    let documents = Document::read("f.yaml", &text).unwrap();
    let log = sarif(&lint(&documents, &Templates::default(), false));
    let result = &log["runs"][0]["results"][0];
    assert_eq!(result["level"], "error");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "f.yaml");
    assert_eq!(place["region"]["startLine"], 12);
}

const SERVED: &str =
    "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: vs}\nspec:\n";

/// The Rollout with this `trafficRouting`, and this object.
fn routed(routing: &str, object: &str) -> String {
    let rollout = ROLLOUT.replace(
        "      steps:",
        &format!(
            "      canaryService: canary\n      stableService: stable\n      trafficRouting:\n        \
             {routing}\n      steps:"
        ),
    );
    format!("{rollout}---\n{object}")
}

const ISTIO: &str = "istio: {virtualService: {name: vs}}";
const TLS: &str = "istio: {virtualService: {name: vs, tlsRoutes: [{port: 443, sniHosts: [a]}]}}";
const TCP: &str = "istio: {virtualService: {name: vs, tcpRoutes: [{port: 9}]}}";
const SUBSETS: &str = "istio: {virtualService: {name: vs}, destinationRule: {name: dr, \
    canarySubsetName: c, stableSubsetName: s}}";
const BOTH: &str = "route: [{destination: {host: stable}}, {destination: {host: canary}}]";
const ONE: &str = "route: [{destination: {host: stable}}]";
const BY_SUBSET: &str =
    "route: [{destination: {host: a, subset: s}}, {destination: {host: a, subset: c}}]";

/// The Rollout with this `trafficRouting`, and a `VirtualService` with these routes.
fn served(routing: &str, routes: &str) -> String {
    routed(routing, &format!("{SERVED}  {routes}\n"))
}

fn and_a_rule(text: &str, subsets: &str) -> String {
    format!(
        "{text}---\napiVersion: networking.istio.io/v1beta1\nkind: DestinationRule\n\
         metadata: {{name: dr}}\nspec: {{host: a, subsets: [{subsets}]}}\n"
    )
}

#[test]
fn routes_of_all_protocols_may_lead_to_both_versions() {
    let by_subset = served(SUBSETS, &format!("http: [{{{BY_SUBSET}}}]"));
    let tls = format!("tls: [{{match: [{{port: 443, sniHosts: [a]}}], {BOTH}}}]");
    let tcp = format!("tcp: [{{match: [{{port: 9}}], {BOTH}}}, {{{ONE}}}]");
    for text in [
        served(ISTIO, &format!("http: [{{{BOTH}}}]")),
        served(ISTIO, &format!("tcp: [{{{BOTH}}}]")),
        served(TLS, &tls),
        served(TCP, &tcp),
        and_a_rule(&by_subset, "{name: c}, {name: s}"),
        // In none of the files.
        by_subset,
        routed(ISTIO, "kind: A\napiVersion: v1\n"),
    ] {
        assert_found(&text, &[]);
    }
}

#[test]
fn routes_of_all_protocols_must_lead_to_both_versions() {
    let by_subset = served(SUBSETS, &format!("http: [{{{BY_SUBSET}}}]"));
    let by_service = served(SUBSETS, &format!("http: [{{{BOTH}}}]"));
    let cases = [
        (
            served(ISTIO, "hosts: []"),
            "Unable to get any of the HTTP, TCP or TLS routes for the Istio VirtualService",
        ),
        (
            served(ISTIO, &format!("http: {{}}\n  tcp: [{{{BOTH}}}]")),
            "Unable to get HTTP routes for Istio VirtualService",
        ),
        (
            served(ISTIO, &format!("tcp: [{{{ONE}}}]")),
            "invalid TCP routes. Error: Canary Service 'canary' not found in route",
        ),
        (
            served(
                TLS,
                &format!("tls: [{{match: [{{port: 443, sniHosts: [b]}}], {BOTH}}}]"),
            ),
            "invalid TLS routes. Error: ",
        ),
        (
            served(
                TLS,
                &format!("tls: [{{match: [{{port: 443, sniHosts: [a]}}], {ONE}}}]"),
            ),
            "invalid TLS routes. Error: Canary Service",
        ),
        (
            served(TCP, &format!("tcp: [{{match: [{{port: 8}}], {BOTH}}}]")),
            "invalid TCP routes. Error: ",
        ),
        (
            and_a_rule(&by_subset, "{name: s}"),
            "Invalid value: \"c\": not a subset of DestinationRule `dr`",
        ),
        (
            and_a_rule(&by_service, "{name: c}, {name: s}"),
            "Error: Canary DestinationRule subset 'c' not found in route",
        ),
    ];
    for (text, expected) in cases {
        let found = found(&text);
        let is_found = found.iter().any(|it| it.contains(expected));
        assert!(is_found, "{text}\n{found:#?}\n{expected}");
    }
}

#[test]
fn the_objects_of_all_routers_must_fit() {
    let wrong = [
        (
            "nginx: {stableIngresses: [in]}",
            "apiVersion: extensions/v1beta1\nkind: Ingress\nmetadata: {name: in}\nspec: {rules: [{http: \
             {paths: [{backend: {serviceName: other, servicePort: 80}}]}}]}\n",
            "nginx.stableIngresses[0]: Invalid value: \"in\": ingress `in` has no rules using service stable",
        ),
        (
            "alb: {ingress: in, servicePort: 80}",
            "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: in}\nspec: {ingressClassName: \
             own, rules: [{http: {paths: [{backend: {service: {name: other, port: {number: 80}}}}]}}]}\n",
            "alb.ingress: Invalid value: \"in\": ingress `in` has no rules using service stable backend",
        ),
        (
            "traefik: {weightedTraefikServiceName: ts}",
            "apiVersion: traefik.io/v1alpha1\nkind: TraefikService\nmetadata: {name: ts}\nspec: {weighted: \
             {services: [{name: stable}]}}\n",
            "traefik canary service `canary` was not found",
        ),
        (
            "ambassador: {mappings: [m]}",
            "apiVersion: getambassador.io/v2\nkind: Mapping\nmetadata: {name: m}\nspec: {service: stable, \
             weight: 20}\n",
            "can not define weight",
        ),
        (
            "apisix: {route: {name: r, rules: [a]}}",
            "apiVersion: apisix.apache.org/v2\nkind: ApisixRoute\nmetadata: {name: r}\nspec: {http: [{name: b, \
             backends: []}]}\n",
            "apisix.route",
        ),
    ];
    for (routing, object, expected) in wrong {
        let found = found(&routed(routing, object));
        assert!(
            found.iter().any(|it| it.contains(expected)),
            "{found:#?}\n{expected}"
        );
        // What is in none of the files is nobody's mistake.
        assert_found(&routed(routing, "kind: A\napiVersion: v1\n"), &[]);
    }
    let services =
        "apiVersion: v1\nkind: Service\nmetadata: {name: canary}\nspec: {ports: [{port: 81}]}\n";
    let ported = "apiVersion: traefik.io/v1alpha1\nkind: TraefikService\nmetadata: {name: ts}\nspec: \
        {weighted: {services: [{name: stable, port: 80}, {name: canary, port: 80}]}}\n";
    let text = routed("traefik: {weightedTraefikServiceName: ts}", ported);
    let found = found(&format!("{text}---\n{services}"));
    let expected = "Invalid value: \"ts\": Service `canary` has no port 80";
    assert!(found.iter().any(|it| it.contains(expected)), "{found:#?}");
    let old = "apiVersion: networking.k8s.io/v1beta1\nkind: Ingress\nmetadata: {name: in}\nspec: {rules: \
        [{http: {paths: [{backend: {serviceName: stable, servicePort: 80}}]}}]}\n";
    assert_found(&routed("nginx: {stableIngress: in}", old), &[]);
}

#[test]
fn analyses_of_experiments_are_looked_for() {
    let step = "- experiment: {templates: [{name: a, specRef: stable}], analyses: [{name: x, templateName: \
        gone}]}\n";
    let text = ROLLOUT.replace("- setWeight: 20\n", step);
    assert_found(
        &text,
        &[
            "12 warning spec.strategy.canary.steps[0].experiment.analyses[0].templateName: Invalid value: \
           \"gone\": AnalysisTemplate 'gone' is in none of the files",
        ],
    );
}

#[test]
fn what_routers_cannot_do_and_parts_that_do_not_add_up_are_warned_of() {
    let steps = "
      canaryService: canary
      stableService: stable
      trafficRouting:
        istio: {virtualService: {name: web}}
        nginx: {stableIngress: web}
        managedRoutes: [{name: testers}]
      steps:
      - setWeight: 80
      - setHeaderRoute: {name: testers, match: [{headerName: A, headerValue: {exact: '1'}}]}
      - setHeaderRoute: {name: testers}
      - experiment: {templates: [{name: a, specRef: stable, weight: 15}, {name: b, specRef: canary, weight: 15}]}
";
    let text = ROLLOUT.replace("\n      steps:\n      - setWeight: 20\n", steps);
    assert_found(
        &text,
        &[
            "19 warning spec.strategy.canary.steps[1].setHeaderRoute: Nginx cannot lead requests by header",
            "21 warning spec.strategy.canary.steps[3].experiment: Nginx cannot give experiments a part",
            "21 warning spec.strategy.canary.steps[3]: the new version (80) and its experiment get 110 of 100",
        ],
    );
}
