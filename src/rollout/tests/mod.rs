//! Whole updates, decided pass by pass over objects in memory: what a cluster would do is played
//! by a few lines of `world`.

#![expect(
    clippy::needless_pass_by_value,
    reason = "literals read better than references to them"
)]

mod blue_green;
mod blue_green_back;
mod canary;
mod defects;
mod durations;
mod experiments;
mod happenings;
mod laws;
mod laws_blue_green;
mod laws_traffic;
mod plugins;
mod refusals;
mod rules;
mod services;
mod thresholds;
mod traffic;
mod unread;
mod waiting;
mod world;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Limits, labels};
use crate::api::{AnalysisRun, ConditionType, PauseReason, Phase};

use happenings::Happening;
use world::{World, analysed, image, pods, steps};
