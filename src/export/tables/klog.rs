//! Kernel-log events.
use crate::export::table::table;
use crate::snapshot::{LogEvent, LogValue};
use crate::export::Cell;

table!("klog", "kernel-log events, one row an event", klog, |snap, data| &data.events, |e| {
    kind: Text = &e.kind, "what it is";
    logged: Time = e.at.map_or(Cell::None, |at| Cell::Time(snap.wall_of(at))), "when the kernel wrote it";
    fields: Text = fields(e), "its fields, a JSON object";
    text: Text = &e.text, "the line";
});

fn fields(event: &LogEvent) -> String {
    let value = |value: &LogValue| match value {
        LogValue::Int(n) => serde_json::Value::from(*n),
        LogValue::Float(n) => serde_json::Value::from(*n),
        LogValue::Bool(truth) => serde_json::Value::from(*truth),
        LogValue::Text(text) => serde_json::Value::from(&**text),
    };
    let object = event.fields.iter().map(|(name, v)| ((**name).to_owned(), value(v)));
    serde_json::Value::Object(object.collect()).to_string()
}
