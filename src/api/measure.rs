//! Where a metric's value comes from: one type per source.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::JobSpec;
use serde_json::{Map, Value};

use super::analysis::LabelsAndAnnotations;
use super::reading::{Preserved, written};
use super::values::{GoDuration, IntOrText};

/// A Job's spec, kept as written.
pub type JobSpecJson = Preserved<JobSpec>;

written! {
    /// The source of a metric. Exactly one is set.
    pub struct MetricProvider {
        optional {
            /// A Prometheus query.
            prometheus: Option<Box<PrometheusMetric>>,
            /// A Kubernetes Job, whose outcome is the measurement.
            job: Option<Box<JobMetric>>,
            /// A canary judgement by Kayenta.
            kayenta: Option<Box<KayentaMetric>>,
            /// An HTTP request that answers JSON.
            web: Option<Box<WebMetric>>,
            /// A Datadog query.
            datadog: Option<Box<DatadogMetric>>,
            /// A Wavefront query.
            wavefront: Option<Box<WavefrontMetric>>,
            /// A New Relic query.
            new_relic: Option<Box<NewRelicMetric>>,
            /// Amazon CloudWatch queries.
            cloud_watch: Option<Box<CloudWatchMetric>>,
            /// A Graphite query.
            graphite: Option<Box<GraphiteMetric>>,
            /// An InfluxDB query.
            influxdb: Option<Box<InfluxdbMetric>>,
            /// An Apache SkyWalking query.
            skywalking: Option<Box<SkyWalkingMetric>>,
            /// A plugin, by its name `owner/repository`, and its settings.
            #[schemars(with = "Preserved<()>")]
            plugin: BTreeMap<String, Value>,
        }
    }
}

/// A source that is set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Provider<'a> {
    /// `prometheus`
    Prometheus(&'a PrometheusMetric),
    /// `job`
    Job(&'a JobMetric),
    /// `kayenta`
    Kayenta(&'a KayentaMetric),
    /// `web`
    Web(&'a WebMetric),
    /// `datadog`
    Datadog(&'a DatadogMetric),
    /// `wavefront`
    Wavefront(&'a WavefrontMetric),
    /// `newRelic`
    NewRelic(&'a NewRelicMetric),
    /// `cloudWatch`
    CloudWatch(&'a CloudWatchMetric),
    /// `graphite`
    Graphite(&'a GraphiteMetric),
    /// `influxdb`
    Influxdb(&'a InfluxdbMetric),
    /// `skywalking`
    SkyWalking(&'a SkyWalkingMetric),
    /// One entry of `plugin`: its name and settings.
    Plugin(&'a str, &'a Value),
}

impl MetricProvider {
    /// All sources that are set, in the order in which Argo prefers them. A valid metric has one.
    pub fn set(&self) -> impl Iterator<Item = Provider<'_>> {
        let plugins = self.plugin.iter();
        [
            self.prometheus.as_deref().map(Provider::Prometheus),
            self.job.as_deref().map(Provider::Job),
            self.kayenta.as_deref().map(Provider::Kayenta),
            self.web.as_deref().map(Provider::Web),
            self.datadog.as_deref().map(Provider::Datadog),
            self.wavefront.as_deref().map(Provider::Wavefront),
            self.new_relic.as_deref().map(Provider::NewRelic),
            self.cloud_watch.as_deref().map(Provider::CloudWatch),
            self.graphite.as_deref().map(Provider::Graphite),
            self.influxdb.as_deref().map(Provider::Influxdb),
            self.skywalking.as_deref().map(Provider::SkyWalking),
        ]
        .into_iter()
        .flatten()
        .chain(plugins.map(|(name, settings)| Provider::Plugin(name, settings)))
    }
}

impl Provider<'_> {
    /// The field's name in YAML.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            Self::Prometheus(_) => "prometheus",
            Self::Job(_) => "job",
            Self::Kayenta(_) => "kayenta",
            Self::Web(_) => "web",
            Self::Datadog(_) => "datadog",
            Self::Wavefront(_) => "wavefront",
            Self::NewRelic(_) => "newRelic",
            Self::CloudWatch(_) => "cloudWatch",
            Self::Graphite(_) => "graphite",
            Self::Influxdb(_) => "influxdb",
            Self::SkyWalking(_) => "skywalking",
            Self::Plugin(..) => "plugin",
        }
    }

    /// The name that Argo's controller metrics use as label `type`.
    #[must_use]
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Prometheus(_) => "Prometheus",
            Self::Job(_) => "Job",
            Self::Kayenta(_) => "Kayenta",
            Self::Web(_) => "Web",
            Self::Datadog(_) => "Datadog",
            Self::Wavefront(_) => "Wavefront",
            Self::NewRelic(_) => "NewRelic",
            Self::CloudWatch(_) => "CloudWatch",
            Self::Graphite(_) => "Graphite",
            Self::Influxdb(_) => "Influxdb",
            Self::SkyWalking(_) => "skywalking",
            Self::Plugin(..) => "RPCPlugin",
        }
    }
}

written! {
    /// A Prometheus query. `result` is a number, or the list of the samples' values.
    pub struct PrometheusMetric {
        optional {
            /// Base URL, such as `http://prometheus.monitoring:9090`. Default: the controller's.
            address: String,
            /// The query in PromQL.
            query: String,
            /// How the request identifies itself. Default: not at all.
            authentication: Option<Box<Authentication>>,
            /// Time limit of a query: seconds, or a duration such as "45s". Default: 30.
            timeout: Option<IntOrText>,
            /// Whether the server's certificate goes unchecked. Default: false.
            insecure: bool,
            /// Headers added to every request.
            headers: Vec<Header>,
            /// Asks for a range of time instead of one moment.
            range_query: Option<PrometheusRangeQuery>,
        }
    }
}

written! {
    /// A range of time.
    pub struct PrometheusRangeQuery {
        optional {
            /// Begin, an expression such as `now() - duration("30m")`.
            start: String,
            /// End, an expression such as `now()`.
            end: String,
            /// Resolution, such as "1m".
            step: GoDuration,
        }
    }
}

written! {
    /// An HTTP header. It replaces one of the same name.
    pub struct Header {
        required {
            /// Name.
            key: String,
            /// Value.
            value: String,
        }
    }
}

written! {
    /// How a request identifies itself.
    pub struct Authentication {
        optional {
            /// Amazon's request signature, for Amazon Managed Prometheus.
            sigv4: Option<SigV4>,
            /// An OAuth 2.0 token by client credentials.
            #[serde(rename = "oauth2")]
            oauth2: Option<OAuth2>,
            /// User name and password.
            basic_auth: Option<BasicAuth>,
        }
    }
}

written! {
    /// Amazon's request signature, version 4.
    pub struct SigV4 {
        optional {
            /// Region, such as `eu-central-1`.
            region: String,
            /// Profile of the credentials. Default: the environment's.
            profile: String,
            /// Role to assume. Default: none.
            role_arn: String,
        }
    }
}

written! {
    /// OAuth 2.0 by client credentials. Used when `tokenUrl` is set.
    pub struct OAuth2 {
        optional {
            /// Where tokens are issued.
            token_url: String,
            /// Identifies the client.
            client_id: String,
            /// The client's secret; better as `{{args.name}}` from a Secret.
            client_secret: String,
            /// Scopes that are asked for.
            scopes: Vec<String>,
        }
    }
}

written! {
    /// User name and password.
    pub struct BasicAuth {
        optional {
            /// User name.
            username: String,
            /// Password; better as `{{args.name}}` from a Secret.
            password: String,
        }
    }
}

written! {
    /// An HTTP request. `result` is the part of the answer that `jsonPath` picks.
    pub struct WebMetric {
        required {
            /// Address.
            url: String,
        }
        optional {
            /// Method. Default: GET.
            method: String,
            /// Headers; nothing is added to them but the content type of `jsonBody`.
            headers: Vec<Header>,
            /// Body as text. Not with GET.
            body: String,
            /// Body as JSON object. Not with GET, nor together with `body`.
            #[schemars(with = "Preserved<()>")]
            json_body: Option<Map<String, Value>>,
            /// Time limit: seconds, or a duration such as "45s". Default: 10.
            timeout_seconds: Option<IntOrText>,
            /// The part of the answer that is judged, such as `{$.data.ok}`. Default: all of it.
            json_path: String,
            /// Whether the server's certificate goes unchecked. Default: false.
            insecure: bool,
            /// How the request identifies itself. Default: not at all.
            authentication: Option<Box<Authentication>>,
        }
    }
}

written! {
    /// A Kubernetes Job. Its completion is a success, its failure a failure.
    pub struct JobMetric {
        required {
            /// The Job, as in `batch/v1`.
            #[schemars(extend("required" = ["template"]))]
            spec: JobSpecJson,
        }
        optional {
            /// Labels and annotations of the Job.
            metadata: Option<LabelsAndAnnotations>,
        }
    }
}

written! {
    /// A canary judgement by Kayenta. Its score is compared with the threshold.
    pub struct KayentaMetric {
        required {
            /// Base URL of Kayenta.
            address: String,
            /// Application.
            application: String,
            /// Name of the canary configuration.
            canary_config_name: String,
            /// Account of the metrics.
            metrics_account_name: String,
            /// Account of the configuration.
            configuration_account_name: String,
            /// Account of the storage.
            storage_account_name: String,
            /// Scores from which the canary passes.
            threshold: KayentaThreshold,
            /// What is compared with what.
            scopes: Vec<KayentaScope>,
        }
        optional {
            /// Whether each judgement covers the time since the run's start. Default: false.
            lookback: bool,
        }
    }
}

written! {
    /// Scores between 0 and 100.
    pub struct KayentaThreshold {
        required {
            /// From here on Successful.
            pass: i64,
            /// From here on Inconclusive; below it Failed.
            marginal: i64,
        }
    }
}

written! {
    /// A pair to compare.
    pub struct KayentaScope {
        required {
            /// Name.
            name: String,
            /// The baseline.
            control_scope: KayentaScopeDetail,
            /// The canary.
            experiment_scope: KayentaScopeDetail,
        }
    }
}

written! {
    /// One side of a comparison.
    pub struct KayentaScopeDetail {
        required {
            /// Scope.
            scope: String,
            /// Region.
            region: String,
            /// Resolution, seconds.
            step: i64,
        }
        optional {
            /// Begin. Default: one interval before now, or the run's start with `lookback`.
            start: String,
            /// End. Default: now.
            end: String,
        }
    }
}

written! {
    /// A Datadog query. `result` is a number, or a list of numbers when grouped (v2).
    pub struct DatadogMetric {
        optional {
            /// Look-back window, such as "5m". Default: 5m.
            #[schemars(extend("x-default" = "5m"))]
            interval: GoDuration,
            /// The query. Not together with `queries`.
            query: String,
            /// Queries by name, for `formula` (v2).
            queries: BTreeMap<String, String>,
            /// Combines `queries` (v2).
            formula: String,
            /// Version of the API. Default: v1.
            #[schemars(extend("enum" = ["v1", "v2"], "x-default" = "v1"))]
            api_version: String,
            /// How a series becomes a number (v2). Default: last.
            #[schemars(extend("enum" = [
                "avg", "min", "max", "sum", "last", "percentile", "mean", "l2norm", "area"
            ]))]
            aggregator: String,
            /// The Secret with the keys. Default: `datadog` in the controller's namespace.
            secret_ref: Option<SecretRef>,
            /// Time limit of a request, such as "10s". Default: 10s.
            #[schemars(extend("x-default" = "10s"))]
            request_timeout: GoDuration,
        }
    }
}

written! {
    /// A Secret with credentials.
    pub struct SecretRef {
        optional {
            /// Name.
            name: String,
            /// Whether it is in the run's namespace. Default: the controller's.
            namespaced: bool,
        }
    }
}

written! {
    /// A Wavefront query. `result` is a number, or a list when there are several series.
    pub struct WavefrontMetric {
        optional {
            /// Host name, without scheme. It is also the key in the Secret of the tokens.
            address: String,
            /// The query.
            query: String,
        }
    }
}

written! {
    /// A New Relic query. `result` is the row, or a list of rows.
    pub struct NewRelicMetric {
        required {
            /// The query in NRQL.
            query: String,
        }
        optional {
            /// The Secret with the keys, in the controller's namespace. Default: `newrelic`.
            profile: String,
            /// Time limit of the query, seconds. Default: 5.
            timeout: Option<i64>,
        }
    }
}

written! {
    /// Amazon CloudWatch queries. `result` is the list of their results.
    pub struct CloudWatchMetric {
        required {
            /// The queries.
            metric_data_queries: Vec<CloudWatchQuery>,
        }
        optional {
            /// Look-back window, such as "30m". Default: 5m.
            interval: GoDuration,
        }
    }
}

written! {
    /// One CloudWatch query: a metric or an expression over others.
    pub struct CloudWatchQuery {
        optional {
            /// Short name, unique among the queries.
            id: String,
            /// Expression over other queries.
            expression: Option<String>,
            /// Label of the result.
            label: Option<String>,
            /// The metric.
            metric_stat: Option<CloudWatchMetricStat>,
            /// Resolution of an expression, seconds.
            period: Option<IntOrText>,
            /// Whether the result is returned. Default: true.
            return_data: Option<bool>,
        }
    }
}

written! {
    /// A metric and its statistic.
    pub struct CloudWatchMetricStat {
        optional {
            /// The metric.
            metric: Option<CloudWatchMetricSource>,
            /// Resolution, seconds.
            period: Option<IntOrText>,
            /// Statistic, such as `p90`.
            stat: String,
            /// Unit.
            unit: String,
        }
    }
}

written! {
    /// Which metric.
    pub struct CloudWatchMetricSource {
        optional {
            /// Dimensions.
            dimensions: Vec<CloudWatchDimension>,
            /// Name of the metric.
            metric_name: String,
            /// Namespace, such as `AWS/ApplicationELB`.
            namespace: Option<String>,
        }
    }
}

written! {
    /// A dimension of a metric.
    pub struct CloudWatchDimension {
        optional {
            /// Name.
            name: String,
            /// Value.
            value: String,
        }
    }
}

written! {
    /// A Graphite query. `result` is the list of the first series' values.
    pub struct GraphiteMetric {
        optional {
            /// Base URL.
            address: String,
            /// Parameters of the render request, such as `target=stats.ok&from=-5min`.
            query: String,
        }
    }
}

written! {
    /// An InfluxDB query. `result` is the list of values.
    pub struct InfluxdbMetric {
        optional {
            /// The Secret with address and token, in the controller's namespace.
            /// Default: `influxdb`.
            profile: String,
            /// The query in Flux.
            query: String,
        }
    }
}

written! {
    /// An Apache SkyWalking query. `result` is the answer's data.
    pub struct SkyWalkingMetric {
        optional {
            /// Base URL.
            address: String,
            /// The query in GraphQL, with a variable `duration`.
            query: String,
            /// Look-back window, such as "3m".
            interval: GoDuration,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_source_counts_and_every_plugin() {
        let provider: MetricProvider = serde_json::from_value(json!({
            "plugin": {"b/b": {}, "a/a": 1},
            "web": {"url": "http://a"},
            "newRelic": {"query": "q"},
            "prometheus": {},
            "unknown": {},
        }))
        .unwrap();
        let fields: Vec<&str> = provider.set().map(Provider::field).collect();
        assert_eq!(
            fields,
            ["prometheus", "web", "newRelic", "plugin", "plugin"]
        );
        let names: Vec<&str> = provider.set().map(Provider::type_name).collect();
        assert_eq!(
            names,
            ["Prometheus", "Web", "NewRelic", "RPCPlugin", "RPCPlugin"]
        );
    }

    #[test]
    fn a_job_stays_as_written_and_can_be_typed() {
        let spec =
            json!({"backoffLimit": 0, "template": {"spec": {"containers": []}}, "new": null});
        let job: JobMetric = serde_json::from_value(json!({"spec": spec})).unwrap();
        assert_eq!(job.spec.typed().unwrap().backoff_limit, Some(0));
        assert_eq!(serde_json::to_value(&job).unwrap(), json!({"spec": spec}));
    }
}
