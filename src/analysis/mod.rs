//! AnalysisRuns: from templates and arguments to measurements that are due, to a verdict.
