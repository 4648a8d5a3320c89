//! Two troubles that have nothing to do with each other are two stories, the worse one first.

use crate::actors::{name, number, ready, stream};
use crate::kit::veth::{NOBODY, wire_into_nothing};
use crate::kit::{Expect, Look, Scenario, Stage};
use rustix::net::SocketFlags;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

pub const ALL: &[Scenario] = &[Scenario {
    name: "two_troubles_are_two_stories",
    root: true,
    tools: &["ip", "unshare"],
    actors: &[("many-attempts", attempts)],
    stage,
    expects,
    check: apart,
    ..Scenario::BASE
}];

fn stage() -> Stage {
    let mut stage = Stage::default();
    stage.actor(&["zombies", "40"]);
    stage.pid = stage.actor_in(&["unshare", "-n"], &["many-attempts", "600"]);
    stage
}

fn attempts(args: &[&str]) {
    let [count] = args else { panic!("many-attempts COUNT") };
    wire_into_nothing();
    name("crawler");
    let far: SocketAddr = format!("{NOBODY}:443").parse().expect("an address");
    let held: Vec<_> = (0..number(count))
        .map(|_| {
            let s = stream(SocketFlags::NONBLOCK);
            rustix::net::connect(&s, &far).ok();
            s
        })
        .collect();
    ready();
    while !held.is_empty() {
        sleep(Duration::from_secs(1));
    }
}

fn expects(stage: &Stage) -> Vec<Expect> {
    let parent = |s: &serde_json::Value| s["comm"] == "bad-parent";
    vec![
        Expect::critical("tcp.syn_sent_pile").task(stage.pid).to(443).leads(),
        Expect::warning("task.zombie_pile").about(parent).leads(),
    ]
}

fn apart(look: &Look, stage: &Stage) -> Result<(), String> {
    let stories = look.json["stories"].as_array().map_or(&[][..], Vec::as_slice);
    let place = |e: &Expect| stories.iter().position(|s| s["root"].as_u64().and_then(|i| look.findings().get(usize::try_from(i).ok()?)).is_some_and(|f| e.is(f)));
    let places: Vec<_> = expects(stage).iter().map(place).collect();
    match places.as_slice() {
        [Some(worse), Some(other)] if worse < other => Ok(()),
        _ => Err(format!("the stories stand at {places:?}")),
    }
}
