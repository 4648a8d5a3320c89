//! The lab: real trouble on the real kernel, and what whytop says about it.
//!
//! One file a scenario or control. A scenario stages its trouble beside a running `whytop watch`, times until that
//! names it, judges a cold `whytop why`, ends the trouble, and asserts that neither says it any more. A control puts
//! a load on a host where nothing is wrong, and asserts silence.
//!
//! `cargo test --test lab` runs all of it, `cargo test --test lab -- udp` a part; `-- --scoreboard` prints the score
//! and fails where it is not met, `-- --markdown` prints it for the README. But for the scoreboard, scenarios that have
//! no part in one another are played side by side, and what fails is played once more, and said: the machine may have
//! been too busy to stage it. What can't run here says `SKIPPED: why`;
//! with `CI` set, only a run that is not root's may skip.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a scenario that cannot be staged must fail loudly"
)]

mod actors;
mod controls;
mod coverage;
mod kit;
mod lanes;
mod scenarios;
#[path = "../kit/mod.rs"]
mod screens;
mod vm;

use kit::{Control, Outcome, Played, Scenario, Score};

/// One of the lab's tests.
#[derive(Clone, Copy)]
enum Work {
    Trouble(Scenario),
    Calm(Control),
}

impl Work {
    fn name(&self) -> &'static str {
        match self {
            Self::Trouble(s) => s.name,
            Self::Calm(c) => c.name,
        }
    }

    fn actors(&self) -> kit::Actors {
        match self {
            Self::Trouble(s) => s.actors,
            Self::Calm(c) => c.actors,
        }
    }

    /// Whether it may be played beside others.
    fn apart(&self) -> bool {
        matches!(self, Self::Trouble(s) if s.apart)
    }

    fn play(&self, side: &str, strict: bool) -> Played {
        match self {
            Self::Trouble(s) => kit::scenario(s, side, strict),
            Self::Calm(c) => kit::control(c, side, strict),
        }
    }
}

/// What the command line asks for.
#[derive(Default)]
struct Asked {
    /// Parts of names; all when empty.
    names: Vec<String>,
    /// Times and all figures count, and the table is printed.
    scoreboard: bool,
    /// The table is printed for the README.
    markdown: bool,
    list: bool,
}

impl Asked {
    fn of(args: Vec<String>) -> Self {
        let mut asked = Self::default();
        for arg in args {
            match arg.as_str() {
                "--scoreboard" => asked.scoreboard = true,
                "--markdown" => (asked.scoreboard, asked.markdown) = (true, true),
                "--list" => asked.list = true,
                // Options of other test binaries of the same run.
                option if option.starts_with('-') => {}
                name => asked.names.push(name.into()),
            }
        }
        asked
    }
}

/// What all came to.
#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
    score: Score,
    /// Looks, frames and pictures of recordings that were compared with live ones.
    replayed: usize,
    /// Where they differ.
    unlike: Vec<String>,
}

/// The test that every rule is staged.
const COVERAGE: &str = "every_rule_is_staged";
/// The test that recordings of all that was played say and show what was live.
const REPLAYED: &str = "recordings_are_as_it_was_live";

impl Tally {
    /// What recordings said and showed, also of what is played once more.
    fn compared(&mut self, row: &kit::Row) {
        self.replayed += row.replayed;
        self.unlike.extend(row.unlike.iter().map(|what| format!("{}: {what}", row.name)));
    }

    /// A test without a row.
    fn check(&mut self, name: &str, faults: &[String]) {
        if faults.is_empty() {
            self.passed += 1;
            println!("test lab::{name} ... ok");
        } else {
            self.failed += 1;
            println!("test lab::{name} ... FAILED\n{}", faults.join("\n"));
        }
    }

    fn add(&mut self, name: &str, Played { outcome, row }: Played) {
        self.compared(&row);
        match outcome {
            Outcome::Passed => {
                self.passed += 1;
                println!("test lab::{name} ... ok ({})", row.told());
            }
            Outcome::Skipped(why) => {
                self.skipped += 1;
                println!("test lab::{name} ... SKIPPED: {why}");
                return;
            }
            Outcome::Failed(why) => {
                self.failed += 1;
                println!("test lab::{name} ... FAILED ({})\n{why}", row.told());
            }
        }
        self.score.rows.push(row);
    }
}

fn all() -> impl Iterator<Item = Work> {
    let troubles = scenarios::ALL.iter().copied().flatten().copied().map(Work::Trouble);
    troubles.chain(controls::ALL.iter().copied().map(Work::Calm))
}

/// Takes out the scenarios that may be played beside others, those of one file together.
fn take_apart(works: &mut Vec<Work>) -> Vec<Vec<Work>> {
    let apart: Vec<Work> = works.extract_if(.., |work| work.apart()).collect();
    let of_file = |file: &[Scenario]| {
        let in_file = |work: &&Work| file.iter().any(|scenario| scenario.name == work.name());
        apart.iter().filter(in_file).copied().collect::<Vec<_>>()
    };
    let mut files: Vec<Vec<Work>> = scenarios::ALL.iter().map(|file| of_file(file)).collect();
    files.retain(|works| !works.is_empty());
    // The longest first.
    files.sort_by_key(|works| std::cmp::Reverse(works.len()));
    files
}

fn once_more(name: &str, why: &str) {
    println!("test lab::{name} ... once more: {why}");
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "--actor") {
        actors::run(&args[1..]);
        return;
    }
    if let [flag, boot, names @ ..] = args.as_slice()
        && flag == "--guest"
    {
        vm::guest(boot, names);
        return;
    }
    match args.as_slice() {
        [flag, names @ ..] if flag == "--lane" => return lanes::run(names),
        [flag] if flag == "--twin" => return kit::twin::run(),
        [flag, name] if flag == "--tape" => return vm::tapes::guest(name),
        [flag, dir, names @ ..] if flag == "--tapes" => return vm::tapes::make(dir, names),
        _ => {}
    }
    let asked = Asked::of(args);
    if asked.list {
        println!("{COVERAGE}: test");
        println!("{REPLAYED}: test");
        for work in all() {
            println!("{}: test", work.name());
        }
        for (boot, work) in vm::BOOTS.iter().flat_map(|b| b.works.iter().map(move |w| (b, w))) {
            println!("{}: test", boot.full_name(work));
        }
        return;
    }
    let wanted = |name: &str| asked.names.is_empty() || asked.names.iter().any(|w| name.contains(w.as_str()));
    let chosen: Vec<Work> = all().filter(|w| wanted(w.name())).collect();
    let boots: Vec<(&vm::Boot, Vec<Work>)> =
        vm::BOOTS.iter().map(|boot| (boot, boot.chosen(wanted))).filter(|(_, works)| !works.is_empty()).collect();
    let guests: usize = boots.iter().map(|(_, works)| works.len()).sum();
    println!("\nrunning {} lab scenarios, {guests} of them in {} virtual machines", chosen.len() + guests, boots.len());
    for name in kit::sweep() {
        println!("removed what an earlier run left: {name}");
    }
    let mut tally = Tally::default();
    if wanted(COVERAGE) && !asked.scoreboard {
        tally.check(COVERAGE, &coverage::faults());
    }
    let mut alone = chosen;
    if !asked.scoreboard {
        let apart = take_apart(&mut alone);
        let missing = lanes::play(&apart, |work, played| match &played.outcome {
            Outcome::Failed(why) => {
                once_more(work.name(), why);
                tally.compared(&played.row);
                alone.push(*work);
            }
            _ => tally.add(work.name(), played),
        });
        alone.extend(missing);
    }
    for work in alone {
        let mut played = work.play("host", asked.scoreboard);
        if let (Outcome::Failed(why), false, false) = (&played.outcome, asked.scoreboard, work.apart()) {
            once_more(work.name(), why);
            tally.compared(&played.row);
            played = work.play("host", false);
        }
        tally.add(work.name(), played);
    }
    vm::play_all(&boots, asked.scoreboard, |name, played| tally.add(name, played));
    if !tally.score.rows.is_empty() {
        println!("recordings compared with what was live: {} times", tally.replayed);
        let unlike = std::mem::take(&mut tally.unlike);
        tally.check(REPLAYED, &unlike);
    }
    let Tally { passed, mut failed, skipped, score, .. } = tally;
    if asked.scoreboard {
        println!("\n{}", if asked.markdown { score.markdown() } else { score.table() });
        let short = score.shortfalls();
        failed += short.len();
        for s in short {
            println!("SHORT: {s}");
        }
    } else if !score.rows.is_empty() {
        println!("\n{}", score.summary());
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {word}. {passed} passed; {failed} failed; {skipped} ignored; 0 measured; 0 filtered out");
    if failed > 0 {
        std::process::exit(1);
    }
}
