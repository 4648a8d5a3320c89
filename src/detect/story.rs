//! Findings that explain one another become stories: the cause first, its consequences nested under it.

use super::label::Joints;
use super::{Join, rules, words};
use crate::model::{Finding, Story};
use crate::snapshot::Text;
use std::cmp::Reverse;
use std::fmt::Write as _;

/// A finding with its rule's place in the table and what it can be joined by.
type Found<'a> = (usize, Finding, &'a Joints);

/// Fills in what explains what, and tells the stories, worst first.
///
/// A cause's rule stands above its consequence's in the table (or, for one far end, its finding stands above), so
/// there are no cycles. A finding belongs to the story of its nearest cause only.
pub(super) fn tell(found: Vec<Found<'_>>) -> (Vec<Finding>, Vec<Story>) {
    let causes: Vec<Vec<usize>> = (0..found.len()).map(|i| causes_of(&found, i)).collect();
    let parent: Vec<Option<usize>> = causes.iter().map(|c| c.first().copied()).collect();
    let effects: Vec<&str> = found.iter().map(|(order, ..)| rules().nth(*order).map_or("", |r| r.effect)).collect();
    let mut findings: Vec<Finding> = found.into_iter().map(|(_, finding, _)| finding).collect();
    for (finding, mut causes) in findings.iter_mut().zip(causes) {
        causes.sort_unstable();
        finding.explained_by = causes;
    }
    let roots = (0..findings.len()).filter(|&i| parent.get(i).is_some_and(Option::is_none));
    let mut stories: Vec<Story> = roots.filter_map(|root| story(&findings, &parent, &effects, root)).collect();
    let active = |s: &Story| s.findings.iter().any(|&i| findings.get(i).is_some_and(|f| f.active));
    stories.sort_by_key(|s| (Reverse(s.severity), Reverse(active(s)), Reverse(s.findings.len()), s.root));
    (findings, stories)
}

/// What explains a finding, the nearest first: by the closest join, then the rule that stands closest above it.
fn causes_of(found: &[Found<'_>], i: usize) -> Vec<usize> {
    let Some((order, finding, joints)) = found.get(i) else { return Vec::new() };
    let mut causes: Vec<(u8, Reverse<usize>, usize)> = Vec::new();
    for (k, (cause_order, cause, cause_joints)) in found.iter().enumerate() {
        let above = cause_order < order || (cause_order == order && k < i);
        let Some(rule) = rules().nth(*cause_order).filter(|_| above) else { continue };
        let joined = rule
            .explains
            .iter()
            .filter(|(id, _)| *id == finding.id)
            .filter_map(|(_, join)| distance(*join, (cause, cause_joints), (finding, joints)));
        causes.extend(joined.min().map(|distance| (distance, Reverse(*cause_order), k)));
    }
    causes.sort_unstable();
    causes.into_iter().map(|(.., k)| k).collect()
}

/// How close a join is; `None` when it does not hold.
fn distance(join: Join, (why, cause): (&Finding, &Joints), (what, effect): (&Finding, &Joints)) -> Option<u8> {
    let task = || cause.tasks.iter().any(|t| effect.tasks.contains(t)).then_some(0);
    let cgroup = || {
        let related = |a: &Text| effect.cgroups.iter().any(|b| a == b || is_below(a, b) || is_below(b, a));
        cause.cgroups.iter().any(related).then_some(1)
    };
    let same_netns = cause.netns.is_some() && cause.netns == effect.netns;
    match join {
        Join::Task => task(),
        Join::Cgroup => cgroup(),
        Join::TaskOrCgroup => task().or_else(cgroup),
        Join::Listener => (cause.listener.is_some() && cause.listener == effect.listener).then_some(1),
        Join::Iface => (cause.iface.is_some() && same_netns && cause.iface == effect.iface).then_some(1),
        Join::Netns => same_netns.then_some(2),
        Join::Remote => (why.remote.is_some() && why.remote == what.remote).then_some(2),
        Join::Host => Some(3),
        Join::HostGrowth => (why.rate_per_s.is_some() || what.rate_per_s.is_none()).then_some(3),
    }
}

fn is_below(path: &str, ancestor: &str) -> bool {
    path.strip_prefix(ancestor).is_some_and(|rest| rest.starts_with('/'))
}

fn story(findings: &[Finding], parent: &[Option<usize>], effects: &[&str], root: usize) -> Option<Story> {
    let mut members = vec![root];
    let mut next = 0;
    let mut stack = vec![root];
    while let Some(at) = stack.pop() {
        if next > 0 {
            members.push(at);
        }
        next += 1;
        let children = (0..parent.len()).rev().filter(|&i| parent.get(i) == Some(&Some(at)));
        stack.extend(children);
    }
    let severity = members.iter().filter_map(|&i| findings.get(i)).map(|f| f.severity).max()?;
    Some(Story { severity, root, summary: summary(findings, effects, &members), findings: members })
}

/// The root's sentence, and what comes of it.
fn summary(findings: &[Finding], effects: &[&str], members: &[usize]) -> String {
    let mut sentence = members.first().and_then(|&i| findings.get(i)).map_or_else(String::new, |f| f.message.clone());
    let root = members.first().and_then(|&i| effects.get(i)).copied().unwrap_or("");
    let mut said: Vec<String> = Vec::new();
    for effect in members.iter().skip(1).filter_map(|&i| effects.get(i)) {
        if !effect.is_empty() && *effect != root && !said.iter().any(|s| s == effect) {
            said.push((*effect).to_owned());
        }
    }
    let same = members.iter().skip(1).filter(|&&i| effects.get(i) == Some(&root)).count();
    if same > 0 {
        let _ = write!(sentence, " ({same} more like it)");
    }
    if !said.is_empty() {
        sentence.push_str("; with it ");
        sentence.push_str(&words::list(&said, 6));
    }
    sentence
}
