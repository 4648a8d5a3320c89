//! What must be said of a staged trouble.

use serde_json::Value;

type Test = Box<dyn Fn(&Value) -> bool>;

/// One finding that must be there.
pub struct Expect {
    pub id: &'static str,
    /// `warning` or `critical`, at least.
    severity: &'static str,
    subject: Test,
    remote: Option<Test>,
    /// Whether it must be the root of its story.
    pub leads: bool,
    facts: Vec<(&'static str, Test)>,
}

impl Expect {
    pub fn warning(id: &'static str) -> Self {
        Self { id, severity: "warning", subject: Box::new(|_| true), remote: None, leads: false, facts: Vec::new() }
    }

    pub fn critical(id: &'static str) -> Self {
        Self { severity: "critical", ..Self::warning(id) }
    }

    /// The JSON subject that it must have.
    pub fn about(mut self, fits: impl Fn(&Value) -> bool + 'static) -> Self {
        self.subject = Box::new(fits);
        self
    }

    /// The task as the subject, or as the owner of the socket that is.
    pub fn task(self, pid: u32) -> Self {
        self.about(move |s| s["pid"] == pid || s["owner"]["pid"] == pid)
    }

    pub fn netns(self, inode: u64) -> Self {
        self.about(move |s| s["kind"] == "netns" && s["inode"] == inode)
    }

    /// A cgroup whose path contains `part`.
    pub fn cgroup(self, part: impl Into<String>) -> Self {
        let part = part.into();
        self.about(move |s| s["kind"] == "cgroup" && s["path"].as_str().is_some_and(|p| p.contains(&part)))
    }

    pub fn host(self) -> Self {
        self.about(|s| s["kind"] == "host")
    }

    /// The far end's port.
    pub fn to(mut self, port: u16) -> Self {
        self.remote = Some(Box::new(move |r| r["port"] == port));
        self
    }

    /// It must be the root of its story.
    pub fn leads(self) -> Self {
        Self { leads: true, ..self }
    }

    /// What must be true of the finding as a whole: its value, limit, evidence, advice.
    pub fn that(mut self, what: &'static str, holds: impl Fn(&Value) -> bool + 'static) -> Self {
        self.facts.push((what, Box::new(holds)));
        self
    }

    /// Whether a finding is this one: id, subject, remote.
    pub fn is(&self, finding: &Value) -> bool {
        let far = self.remote.as_ref().is_none_or(|fits| fits(&finding["remote"]));
        finding["id"] == self.id && far && (self.subject)(&finding["subject"])
    }

    /// As [`Expect::is`], and as bad as it must be.
    pub fn is_met(&self, finding: &Value) -> bool {
        self.is(finding) && (self.severity == "warning" || finding["severity"] == "critical")
    }

    /// What of its facts a finding lacks.
    pub fn lacks(&self, finding: &Value) -> Vec<String> {
        let mut lacks: Vec<String> = Vec::new();
        if !self.is_met(finding) {
            lacks.push(format!("severity {} where {} is due", finding["severity"], self.severity));
        }
        lacks.extend(self.facts.iter().filter(|(_, holds)| !holds(finding)).map(|(what, _)| format!("not: {what}")));
        lacks
    }
}
