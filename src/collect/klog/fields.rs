//! Filling an event's fields.

use super::line::Line;
use crate::collect::containers::of_path;
use crate::snapshot::{LogEvent, LogValue};

/// Names and values of an event, put one after the other.
pub(super) trait Fields: Sized {
    /// A new event of `kind` that `line` carries.
    fn of(kind: &str, line: &Line<'_>) -> Self;
    /// Puts a value, when there is one.
    fn put(&mut self, name: &str, value: impl IntoValue);
    /// Puts a value while building.
    #[must_use]
    fn with(mut self, name: &str, value: impl IntoValue) -> Self {
        self.put(name, value);
        self
    }
    /// Puts the container that one of the cgroup paths names, the first that names any.
    fn put_container(&mut self, paths: &[Option<&str>]);
}

impl Fields for LogEvent {
    fn of(kind: &str, line: &Line<'_>) -> Self {
        let event = Self { kind: kind.into(), line: line.no, at: line.at, text: line.text.into(), ..Self::default() };
        event.with("stamp", Some(line.stamp).filter(|s| !s.is_empty()))
    }

    fn put(&mut self, name: &str, value: impl IntoValue) {
        if let Some(value) = value.into_value() {
            self.fields.insert(name.into(), value);
        }
    }

    fn put_container(&mut self, paths: &[Option<&str>]) {
        let meanings: Vec<_> = paths.iter().flatten().map(|path| of_path(path)).collect();
        let container = meanings.iter().find_map(|m| m.container.as_ref());
        self.put("container_id", container.map(|c| &*c.id));
        self.put("runtime", container.map(|c| &*c.runtime).filter(|r| !r.is_empty()));
        let pod = container.and_then(|c| c.pod_uid.as_deref());
        self.put("pod_uid", pod.or_else(|| meanings.iter().find_map(|m| m.pod_uid.as_deref())));
    }
}

/// What may stand in a field; nothing is put for an unknown.
pub(super) trait IntoValue {
    /// The value, unless unknown.
    fn into_value(self) -> Option<LogValue>;
}

impl IntoValue for &str {
    fn into_value(self) -> Option<LogValue> {
        Some(LogValue::Text(self.into()))
    }
}

impl IntoValue for i64 {
    fn into_value(self) -> Option<LogValue> {
        Some(LogValue::Int(self))
    }
}

impl IntoValue for u64 {
    fn into_value(self) -> Option<LogValue> {
        i64::try_from(self).ok().map(LogValue::Int)
    }
}

impl IntoValue for bool {
    fn into_value(self) -> Option<LogValue> {
        Some(LogValue::Bool(self))
    }
}

impl<T: IntoValue> IntoValue for Option<T> {
    fn into_value(self) -> Option<LogValue> {
        self.and_then(IntoValue::into_value)
    }
}
