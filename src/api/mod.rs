//! The kinds of `argoproj.io/v1alpha1`, exactly as they stand in YAML; no decisions.
