//! Findings in the form that code hosts show beside a change.

use serde_json::{Value, json};

use super::{Finding, Severity};

/// A SARIF 2.1.0 log of one run.
#[must_use]
pub fn sarif(findings: &[Finding]) -> Value {
    let results: Vec<Value> = findings.iter().map(result).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "verdict", "version": env!("CARGO_PKG_VERSION"),
                "rules": [{ "id": "manifest",
                    "shortDescription": { "text": "Manifests of Argo Rollouts' kinds are valid" } }],
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let Finding {
        file,
        line,
        column,
        end_line,
        end_column,
        object,
        field,
        message,
        ..
    } = finding;
    let text = match object.as_str() {
        "" => message.clone(),
        object => format!("{object}: {field}: {message}"),
    };
    let mut place = json!({ "artifactLocation": { "uri": file } });
    if *line > 0 {
        place["region"] = json!({ "startLine": line, "startColumn": column.max(&1) });
        if let (Some(line), Some(column)) = (end_line, end_column) {
            place["region"]["endLine"] = json!(line);
            place["region"]["endColumn"] = json!(column);
        }
    }
    json!({
        "ruleId": "manifest", "level": level,
        "message": { "text": text },
        "locations": [{ "physicalLocation": place }],
    })
}
