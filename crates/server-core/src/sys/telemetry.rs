//! `sys/metrics`: the recorder's Prometheus text, or the same series as go-metrics' JSON.

use api_types::Operation;
use engine::{Call, Field, FieldKind, Outcome, Route};
use secret::Time;
use serde_json::{Value, json};

use super::SystemEngine;
use super::support::{bare_json, bare_text};
use crate::series;

/// The content type of the Prometheus text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
const FIELDS: &[Field] = &[Field::new("format", FieldKind::String, "prometheus, or nothing for JSON.")];

/// The group's paths.
pub(crate) fn routes() -> Vec<Route<SystemEngine>> {
    vec![Route::new("metrics", FIELDS, "Shows the metric series.").on(Operation::Read, "Show them.", metrics)]
}

fn metrics(engine: &SystemEngine, call: &mut Call<'_>) -> Outcome {
    let core = engine.core()?;
    let accept = call.request.header("accept").unwrap_or_default();
    let wants_text = accept.contains("openmetrics") || accept.contains("prometheus");
    let format = match call.fields.str("format") {
        "" if wants_text => "prometheus",
        format => format,
    };
    let Some(source) = core.config().metrics.as_ref() else {
        return Ok(Some(bare_text("prometheus is not enabled", "text/plain", 400)));
    };
    series::refresh(&core);
    match format {
        "prometheus" => Ok(Some(bare_text(source(), TEXT_FORMAT, 200))),
        "" => bare_json(&as_json(&source(), call.now), 200).map(Some),
        other => Ok(Some(bare_text(format!("metric response format {other:?} unknown"), "text/plain", 400))),
    }
}

/// Prometheus text to go-metrics' JSON. Summaries are shown as gauges of their parts.
fn as_json(text: &str, now: Time) -> Value {
    let (mut gauges, mut counters) = (Vec::new(), Vec::new());
    let mut kind = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            kind = rest.rsplit(' ').next().unwrap_or_default();
            continue;
        }
        let Some((head, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else { continue };
        let Ok(number) = value.parse::<f64>() else { continue };
        let (name, labels) = head.split_once('{').unwrap_or((head, ""));
        let labels: api_types::Map = labels
            .trim_end_matches('}')
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.trim_matches('"').into()))
            .collect();
        if kind == "counter" {
            counters.push(json!({ "Name": name, "Count": number, "Sum": number, "Labels": labels }));
        } else {
            gauges.push(json!({ "Name": name, "Value": number, "Labels": labels }));
        }
    }
    json!({ "Timestamp": now.rfc3339_seconds(), "Gauges": gauges, "Counters": counters, "Points": [], "Samples": [] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_text_becomes_go_metrics_json() {
        let text = "# HELP a about\n# TYPE a gauge\na{device=\"x/\",type=\"file\"} 1\n# TYPE b counter\nb 3\nbroken\n\
                    # TYPE c summary\nc{quantile=\"0.5\"} NaNx\n";
        let out = as_json(text, Time::from_unix(0));
        assert_eq!(out["Gauges"], json!([{ "Name": "a", "Value": 1.0, "Labels": { "device": "x/", "type": "file" } }]));
        assert_eq!(out["Counters"], json!([{ "Name": "b", "Count": 3.0, "Sum": 3.0, "Labels": {} }]));
        assert_eq!(out["Points"], json!([]));
    }
}
