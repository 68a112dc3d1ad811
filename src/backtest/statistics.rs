//! Quantiles.

use serde::Serialize;

/// How numbers are spread.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quantiles {
    /// The least.
    pub min: f64,
    /// 1 % are below.
    pub p01: f64,
    /// 5 % are below.
    pub p05: f64,
    /// Half are below.
    pub p50: f64,
    /// 95 % are below.
    pub p95: f64,
    /// 99 % are below.
    pub p99: f64,
    /// The most.
    pub max: f64,
}

impl Quantiles {
    /// Of numbers, NaN and infinite ones left out; `None` if nothing is left.
    pub(super) fn of(numbers: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.filter(|number| number.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| quantile(&sorted, share);
        Some(Self {
            min: at(0.0)?,
            p01: at(0.01)?,
            p05: at(0.05)?,
            p50: at(0.5)?,
            p95: at(0.95)?,
            p99: at(0.99)?,
            max: at(1.0)?,
        })
    }

    /// Each with its name.
    pub(super) fn named(&self) -> [(&'static str, f64); 7] {
        [
            ("min", self.min),
            ("1 %", self.p01),
            ("5 %", self.p05),
            ("50 %", self.p50),
            ("95 %", self.p95),
            ("99 %", self.p99),
            ("max", self.max),
        ]
    }
}

/// # Source
/// Hyndman and Fan, "Sample Quantiles in Statistical Packages" (1996), type 7.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place in a list"
)]
fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let below = place.floor() as usize;
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    Some(low + (place - below as f64) * (high - low))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_neighbours() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        for (share, expected) in [(0.0, 1.0), (0.5, 2.5), (0.1, 1.3), (1.0, 4.0)] {
            let got = quantile(&sorted, share).unwrap();
            assert!((got - expected).abs() < 1e-12, "{share}: {got}");
        }
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(Quantiles::of([f64::NAN].into_iter()), None);
    }
}
