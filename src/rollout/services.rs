//! The Services of a Rollout.

use crate::api::RolloutSpec;

/// The Services that a spec names, each once.
pub fn named_services(spec: &RolloutSpec) -> impl Iterator<Item = &str> {
    let canary = spec.strategy.canary.iter().flat_map(|canary| {
        let turns = canary.ping_pong.iter();
        let turns = turns.flat_map(|turns| [&turns.ping_service, &turns.pong_service]);
        [&canary.canary_service, &canary.stable_service]
            .into_iter()
            .chain(turns)
    });
    let blue_green = spec.strategy.blue_green.iter();
    let blue_green = blue_green.flat_map(|spec| [&spec.active_service, &spec.preview_service]);
    let mut names: Vec<&str> = canary.chain(blue_green).map(String::as_str).collect();
    names.retain(|name| !name.is_empty());
    names.sort_unstable();
    names.dedup();
    names.into_iter()
}
