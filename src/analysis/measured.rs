//! A measurement that may be shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::Measurement;

/// A measurement that has moved: taken, under way or stopped. Free of Secrets and bounded in size.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Name of the metric.
    pub metric: String,
    /// The measurement.
    pub measurement: Measurement,
    /// What the source tells about the metric as a whole.
    pub metadata: BTreeMap<String, String>,
}

/// Times in a status have whole seconds.
pub(crate) fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
