//! An event as the JSON of `log --json` and `why --json`.

use crate::snapshot::{LogEvent, LogValue};
use serde_json::{Map, Value};

/// One flat object: `kind`, `line`, the event's fields, `boot_time_s` where the log has it, and the line as `message`.
#[must_use]
pub fn json(event: &LogEvent) -> Value {
    let mut object = Map::new();
    object.insert("kind".into(), Value::from(&*event.kind));
    object.insert("line".into(), Value::from(event.line));
    for (name, value) in &event.fields {
        let value = match value {
            LogValue::Int(n) => Value::from(*n),
            LogValue::Float(x) => Value::from(*x),
            LogValue::Bool(b) => Value::from(*b),
            LogValue::Text(text) => Value::from(&**text),
        };
        object.insert((**name).into(), value);
    }
    if let Some(at) = event.at {
        object.insert("boot_time_s".into(), Value::from(at.0 as f64 / 1e9));
    }
    object.insert("message".into(), Value::from(&*event.text));
    Value::Object(object)
}
