//! How fast conditions are read and evaluated.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on stops")]
#![expect(
    missing_docs,
    reason = "criterion's macros make undocumented functions"
)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use verdict::expression::{Condition, Value};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

const TEN_TERMS: &str = "len(result) == 3 and result[0] >= 0.95 and result[0] <= 1 and \
    result[1] < 500 and result[2] != 7 and not isNaN(result[0]) and not isInf(result[1]) and \
    result[1] / 2 < 250 and result[-1] > 0 and all(result, # >= 0)";

/// Megabytes of JSON, of which a condition looks at a little.
fn large() -> Value {
    let rows: Vec<_> = (0..20_000)
        .map(|n| serde_json::json!({"code": 200, "ms": n, "path": "/a/rather/long/path/of/a/page"}))
        .collect();
    Value::from(serde_json::json!({"data": {"ok": true, "rows": rows}}))
}

fn evaluation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("evaluate");
    let mut bench = |name: &str, text: &str, value: &Value| {
        let condition = Condition::parse(text).unwrap();
        assert!(condition.evaluate(value, NOW).unwrap(), "{text}");
        group.bench_function(name, |b| {
            b.iter(|| black_box(&condition).evaluate(black_box(value), NOW));
        });
    };
    let vector = Value::from(vec![0.99, 12.0, 3.0]);
    let large = large();
    bench("one comparison", "result[0] >= 0.95", &vector);
    bench("ten terms", TEN_TERMS, &vector);
    bench("a field of large JSON", "result.data.ok", &large);
    bench(
        "a row of large JSON",
        "result.data.rows[-1].ms > 100",
        &large,
    );
    bench(
        "all rows of large JSON",
        "all(result.data.rows, .code < 500)",
        &large,
    );
    group.finish();
}

fn parsing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for (name, text) in [
        ("one comparison", "result[0] >= 0.95"),
        ("ten terms", TEN_TERMS),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| Condition::parse(black_box(text)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, evaluation, parsing);
criterion_main!(benches);
