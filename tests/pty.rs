//! The real binary in a terminal: what the screen shows, and that the terminal is given back on every way out.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, SlavePty, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Action, tcflow};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use whytop::record::{Header, Log, Note, Reader, Writer};
use whytop::snapshot::{Host, Moment, Section, Snapshot};

/// Longest wait for something to appear; a busy machine is slow, a broken program is never in time.
const PATIENCE: Duration = Duration::from_mins(1);

struct Terminal {
    master: Box<dyn MasterPty + Send>,
    /// Open here too, so that what the program wrote last can still be read.
    slave: Option<Box<dyn SlavePty + Send>>,
    hung_up: Arc<AtomicBool>,
    keys: Box<dyn Write + Send>,
    bytes: Receiver<Vec<u8>>,
    screen: vt100::Parser,
    /// Everything that was drawn.
    drawn: Vec<u8>,
    child: Box<dyn Child + Send + Sync>,
    /// Line settings before the program took the terminal.
    settings: String,
    /// Where it writes.
    state: tempfile::TempDir,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

fn parser(columns: u16, rows: u16) -> vt100::Parser {
    vt100::Parser::new(NonZeroU16::new(rows).unwrap(), NonZeroU16::new(columns).unwrap(), 0)
}

impl Terminal {
    fn start(args: &[&str], term: &str) -> Self {
        Self::run(env!("CARGO_BIN_EXE_whytop"), args, term)
    }

    fn run(program: &str, args: &[&str], term: &str) -> Self {
        let pair = native_pty_system().openpty(size(80, 24)).unwrap();
        let settings = format!("{:?}", pair.master.get_termios());
        let mut command = CommandBuilder::new(program);
        command.args(args);
        command.env_clear();
        command.env("TERM", term);
        command.env("HOME", "/nonexistent");
        command.env("TZ", "UTC");
        let state = tempfile::tempdir().unwrap();
        command.env("XDG_STATE_HOME", state.path());
        command.cwd("/");
        let child = pair.slave.spawn_command(command).unwrap();
        let mut reader = pair.master.try_clone_reader().unwrap();
        let (give, bytes) = channel();
        let hung_up = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&hung_up);
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buf) {
                if give.send(buf[..n].to_vec()).is_err() || stop.load(Ordering::SeqCst) {
                    return;
                }
            }
        });
        let keys = pair.master.take_writer().unwrap();
        Self {
            master: pair.master,
            slave: Some(pair.slave),
            hung_up,
            keys,
            bytes,
            screen: parser(80, 24),
            drawn: Vec::new(),
            child,
            settings,
            state,
        }
    }

    /// The files that it has written whose names begin and end so.
    fn written(&self, begins: &str, ends: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.state.path().join("whytop")) else { return Vec::new() };
        let is_such = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(begins) && name.ends_with(ends)
        };
        let mut found: Vec<PathBuf> = entries.map(|e| e.unwrap().path()).filter(is_such).collect();
        found.sort();
        found
    }

    fn contents(&self) -> String {
        self.screen.screen().contents()
    }

    fn wait_for(&mut self, what: &str, wanted: impl Fn(&vt100::Screen) -> bool) {
        self.wait_until(what, |terminal| wanted(terminal.screen.screen()));
    }

    /// Reads what the program draws until all is as wanted.
    fn wait_until(&mut self, what: &str, wanted: impl Fn(&Self) -> bool) {
        let deadline = whytop::collect::now().0 + u64::try_from(PATIENCE.as_nanos()).unwrap();
        while !wanted(self) {
            let left = Duration::from_nanos(deadline.saturating_sub(whytop::collect::now().0));
            match self.bytes.recv_timeout(left) {
                Ok(bytes) => self.take(&bytes),
                Err(e) => panic!("waited for {what}, {e}; the screen is:\n{}", self.contents()),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.screen.process(bytes);
        self.drawn.extend_from_slice(bytes);
    }

    /// Closes our end, as a lost connection does. The settings of the line can't be read any more.
    fn hang_up(&mut self) {
        self.hung_up.store(true, Ordering::SeqCst);
        self.keys = Box::new(std::io::sink());
        self.slave = None;
        // Another pair takes the place of the one that is closed, as soon as the reader has seen the next drawing.
        self.master = native_pty_system().openpty(size(80, 24)).unwrap().master;
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.process_id().unwrap()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Waits for the end, and reads what was drawn until then.
    fn end(&mut self) -> ExitStatus {
        let (tell, told) = channel();
        let mut killer = self.child.clone_killer();
        let watchdog = std::thread::spawn(move || {
            if told.recv_timeout(PATIENCE).is_err() {
                killer.kill().ok();
            }
        });
        let status = self.child.wait().unwrap();
        tell.send(()).expect("the program did not end by itself");
        watchdog.join().unwrap();
        while let Ok(bytes) = self.bytes.recv_timeout(Duration::from_millis(200)) {
            self.take(&bytes);
        }
        status
    }

    fn assert_given_back(&self) {
        let screen = self.screen.screen();
        assert!(!screen.alternate_screen(), "the alternate screen is left");
        assert!(!screen.hide_cursor(), "the cursor is shown");
        assert_eq!(screen.mouse_protocol_mode(), vt100::MouseProtocolMode::None);
        assert_eq!(format!("{:?}", self.master.get_termios()), self.settings, "the line settings are as before");
    }
}

fn is_up(screen: &vt100::Screen) -> bool {
    screen.alternate_screen() && screen.contents().contains("whytop")
}

#[test]
fn panes_come_by_their_keys_and_q_gives_the_terminal_back() {
    let mut terminal = Terminal::start(&[], "xterm");
    terminal.wait_for("the first screen", is_up);
    assert!(terminal.screen.screen().hide_cursor());
    for (key, shows) in
        [("2", "process  remote  listener"), ("3", "trouble  all"), ("4", "containers  all"), ("5", "OF RAM")]
    {
        terminal.press(key);
        terminal.wait_for(&format!("pane {key}"), |s| s.contents().contains(shows));
    }
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
    terminal.assert_given_back();
}

#[test]
fn a_process_is_ended_from_its_row_after_its_plan() {
    let mut victim = std::process::Command::new("sleep").arg("86399.5").spawn().unwrap();
    let mut terminal = Terminal::start(&[], "xterm");
    terminal.master.resize(size(120, 40)).unwrap();
    terminal.screen = parser(120, 40);
    terminal.wait_for("the first screen", is_up);
    terminal.press("3v");
    terminal.wait_for("all processes", |s| s.contents().contains("COMMAND"));
    terminal.press(&format!("\\pid={}\r", victim.id()));
    terminal.wait_for("its row", |s| s.contents().contains("▸") && s.contents().contains("sleep 86399.5"));
    terminal.press("k");
    terminal.wait_for("the plan", |s| s.contents().contains("SIGTERM ends it") && s.contents().contains("Enter do it"));
    assert!(victim.try_wait().unwrap().is_none(), "nothing is sent before the plan was seen");
    terminal.press("\r");
    // Its parent, this test, does not wait for it yet.
    terminal.wait_for("the outcome", |s| s.contents().contains("not reaped") || s.contents().contains("exited in"));
    let status = victim.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(15));
    terminal.press("\x1b");
    terminal.wait_for("the table again", |s| s.contents().contains("COMMAND"));
    terminal.press("[");
    terminal.wait_for("the past", |s| s.contents().contains("REPLAY"));
    terminal.press("m");
    let done = format!("SIGTERM to sleep({})", victim.id());
    terminal.wait_for("what was done in it", |s| s.contents().contains(&done));
    terminal.press("\x1b");
    terminal.wait_for("the table of then", |s| s.contents().contains("COMMAND"));
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
    terminal.assert_given_back();
}

#[test]
fn it_survives_a_tiny_window_and_grows_again() {
    let mut terminal = Terminal::start(&["--ascii"], "screen");
    terminal.wait_for("the first screen", is_up);
    terminal.master.resize(size(20, 5)).unwrap();
    terminal.screen = parser(20, 5);
    terminal.wait_for("a tiny screen", |s| !s.contents().trim().is_empty());
    terminal.master.resize(size(120, 40)).unwrap();
    terminal.screen = parser(120, 40);
    terminal.wait_for("a large screen", |s| s.contents().contains("whytop"));
    terminal.press("\x03");
    assert_eq!(terminal.end().exit_code(), 0, "Ctrl-C leaves");
}

#[test]
fn it_stops_and_goes_on_as_job_control_wants() {
    let script = format!("{}; echo stopped:$?; fg", env!("CARGO_BIN_EXE_whytop"));
    let mut terminal = Terminal::run("/bin/sh", &["-mc", &script], "xterm");
    terminal.wait_for("the first screen", is_up);
    terminal.press("\x1a");
    terminal.wait_until("the screen again", |t| {
        String::from_utf8_lossy(&t.drawn).contains("stopped:148") && is_up(t.screen.screen())
    });
    terminal.press("q");
    assert_eq!(terminal.end().exit_code(), 0);
    terminal.assert_given_back();
}

#[test]
fn signals_end_it_as_shells_expect() {
    for (signal, status) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131)] {
        let mut terminal = Terminal::start(&[], "xterm-256color");
        terminal.wait_for("the first screen", is_up);
        terminal.signal(signal);
        assert_eq!(terminal.end().exit_code(), status);
        terminal.assert_given_back();
    }
}

#[test]
fn a_terminal_that_takes_no_output_can_not_keep_it_alive() {
    let mut terminal = Terminal::start(&[], "xterm");
    terminal.wait_for("the first screen", is_up);
    let line = std::fs::OpenOptions::new().write(true).open(terminal.master.tty_name().unwrap()).unwrap();
    tcflow(&line, Action::OOff).unwrap();
    // The clock is drawn each second: by now the screen's thread hangs in its write.
    std::thread::sleep(Duration::from_millis(2500));
    terminal.signal(Signal::TERM);
    assert_eq!(terminal.end().exit_code(), 143);
    assert_eq!(format!("{:?}", terminal.master.get_termios()), terminal.settings);
}

#[test]
fn a_lost_terminal_ends_it() {
    let mut terminal = Terminal::start(&[], "xterm");
    terminal.wait_for("the first screen", is_up);
    terminal.hang_up();
    assert_eq!(terminal.end().exit_code(), 129);
}

#[test]
fn a_dumb_terminal_gets_text() {
    let mut terminal = Terminal::start(&[], "dumb");
    terminal.wait_for("a word on it", |s| s.contents().contains("TERM is dumb"));
    assert_eq!(terminal.end().exit_code(), 0);
    let text = String::from_utf8_lossy(&terminal.drawn);
    let looked_s = text.split_once("looked for ").and_then(|(_, rest)| rest.split_once(' ')?.0.parse::<f64>().ok());
    assert!(looked_s.is_some_and(|s| s >= 5.0), "{text}");
}

/// A recording of two minutes from 10:00:00 UTC on, of a host that has nothing, without some seconds of it.
fn recording(without: std::ops::Range<u64>) -> tempfile::NamedTempFile {
    let start = "2026-11-22T10:00:00Z".parse::<jiff::Timestamp>().unwrap();
    let start = i64::try_from(start.as_nanosecond()).unwrap();
    let mut writer = Writer::new(Vec::new()).unwrap();
    let mut log = None;
    for second in (0..120).filter(|second| !without.contains(second)) {
        let at = Moment(1_000_000_000 * (500 + second));
        let wall_unix_ns = start + i64::try_from(second).unwrap() * 1_000_000_000;
        let host = Host { name: "recorded".into(), ..Host::default() };
        let snap = Snapshot { at, wall_unix_ns, host: Section::ok(at, host), ..Snapshot::default() };
        log.get_or_insert_with(|| Log::new(&Header::of(&snap)).unwrap());
        writer.push(&snap, None).unwrap();
    }
    let (mut log, mut bytes) = log.unwrap();
    for frame in writer.into_sink() {
        bytes.extend(log.append(&frame).unwrap());
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    file
}

#[test]
fn a_recording_is_played_sought_and_left() {
    let file = recording(0..0);
    let mut t = Terminal::start(&["replay", file.path().to_str().unwrap()], "xterm-256color");
    let shows = |text: &'static str| move |s: &vt100::Screen| s.contents().contains(text);
    t.wait_for("the recording", |s| s.contents().contains("recorded") && s.contents().contains("REPLAY 10:0"));
    t.wait_for("it to play", |s| s.contents().contains("REPLAY 10:0") && !s.contents().contains("REPLAY 10:00:00"));
    t.press(" @10:01:30\r");
    t.wait_for("the time", shows("REPLAY 10:01:30"));
    t.press("[[");
    t.wait_for("two samples back", shows("REPLAY 10:01:28"));
    t.press("@+99h\r");
    t.wait_for("its end", shows("REPLAY 10:01:59"));
    t.press("q");
    assert!(t.end().success());
    t.assert_given_back();
}

#[test]
fn what_a_recording_does_not_hold_is_said_to_be_absent() {
    let file = recording(20..50);
    let mut t = Terminal::start(&["replay", "--at", "10:00:10", file.path().to_str().unwrap()], "xterm-256color");
    t.wait_for("the recording", |s| s.contents().contains("REPLAY 10:00:10"));
    let bar = |s: &vt100::Screen| s.contents().lines().rev().nth(1).unwrap_or_default().to_owned();
    assert!(bar(t.screen.screen()).contains("··"), "the gap is in the scrub bar: {}", t.contents());
    t.press("@10:00:30\r");
    let absent = "nothing is recorded from 10:00:19 to 10:00:50";
    t.wait_for("the last sample before", |s| s.contents().contains("REPLAY 10:00:19") && s.contents().contains(absent));
    t.press("]");
    t.wait_for("the first sample after", |s| s.contents().contains("REPLAY 10:00:50"));
    t.press("q");
    assert!(t.end().success());
}

#[test]
fn the_live_screen_goes_back_in_its_last_minutes() {
    let mut t = Terminal::start(&[], "xterm-256color");
    t.wait_for("the live screen", |s| s.contents().contains("LIVE"));
    t.press("[");
    t.wait_for("the past", |s| s.contents().contains("REPLAY"));
    t.press("L");
    t.wait_for("now", |s| s.contents().contains("LIVE"));
    t.press("q");
    assert!(t.end().success());
}

#[test]
fn the_ring_is_saved_with_its_marks() {
    let mut t = Terminal::start(&["--read-only"], "xterm-256color");
    t.wait_for("the live screen", |s| s.contents().contains("LIVE"));
    t.press("mhere it was\r");
    t.wait_for("the mark", |s| s.contents().contains("marked"));
    t.press("w");
    t.wait_for("where it is", |s| s.contents().contains("saved the last") && s.contents().contains("/ring-"));
    let saved = t.written("ring-", ".whytop");
    t.press("q");
    assert!(t.end().success());
    t.assert_given_back();
    let told = String::from_utf8_lossy(&t.drawn).into_owned();
    let [file] = &saved[..] else { panic!("{saved:?}") };
    assert!(told.contains(&format!("{}, ", file.display())), "it is told again at the end: {told}");
    let reader = Reader::open(file).unwrap();
    let notes = reader.notes().unwrap();
    assert!(notes.iter().any(|n| matches!(n, Note::Mark(mark) if &*mark.text == "here it was")), "{notes:?}");
    assert!(reader.start().unwrap().next_snapshot().unwrap().is_some());
}

#[test]
fn it_records_to_one_file_and_a_second_is_refused() {
    let mut t = Terminal::start(&["--read-only"], "xterm-256color");
    t.wait_for("the live screen", |s| s.contents().contains("LIVE"));
    t.press("r");
    t.wait_for("the sign in the header", |s| s.contents().contains("●REC"));
    let files = t.written("host", ".whytop");
    let [file] = &files[..] else { panic!("{files:?}") };
    let other = std::process::Command::new(env!("CARGO_BIN_EXE_whytop")).arg("record").arg(file).output().unwrap();
    let words = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(words.contains("another process"), "{words}");
    t.press("mbegun\r");
    t.wait_for("the mark", |s| s.contents().contains("marked"));
    t.press("r");
    t.wait_for("its end", |s| s.contents().contains("recorded to") && !s.contents().contains("REC"));
    let reader = Reader::open(file).unwrap();
    assert!(reader.is_closed());
    let notes = reader.notes().unwrap();
    assert!(notes.iter().any(|n| matches!(n, Note::Mark(mark) if &*mark.text == "begun")), "{notes:?}");

    // Held by another, it is refused with a word, and the screens go on.
    let mut holder = std::process::Command::new(env!("CARGO_BIN_EXE_whytop"));
    let mut holder = holder.arg("record").arg(file).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(holder.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut said, &mut String::new()).unwrap();
    t.press("r");
    t.wait_for("the refusal", |s| s.contents().contains("not recorded"));
    kill_process(Pid::from_child(&holder), Signal::TERM).unwrap();
    assert!(holder.wait().unwrap().success());
    t.press("rq");
    assert!(t.end().success());
}

#[test]
fn pictures_of_any_screen_are_saved_also_of_a_recording() {
    let file = recording(0..0);
    for args in [vec!["--read-only"], vec!["replay", file.path().to_str().unwrap()]] {
        let is_replay = args.len() > 1;
        let mut t = Terminal::start(&args, "xterm-256color");
        t.wait_for("the screen", |s| s.contents().contains(if is_replay { "REPLAY" } else { "LIVE" }));
        t.press("5P");
        t.wait_for("where it is", |s| s.contents().contains("saved the screen"));
        let (svg, text) = (t.written("screen-", ".svg"), t.written("screen-", ".txt"));
        let text = std::fs::read_to_string(text.first().unwrap()).unwrap();
        assert!(text.contains("whytop") && text.contains("5 Memory") && text.lines().count() == 24, "{text}");
        assert!(std::fs::read_to_string(svg.first().unwrap()).unwrap().ends_with("</svg>\n"));
        if is_replay {
            t.press("wr");
            t.press("1");
            t.wait_for("pane 1", |s| s.contents().contains("REPLAY"));
        }
        t.press("q");
        assert!(t.end().success());
        if is_replay {
            assert!(t.written("", ".whytop").is_empty(), "a replay records nothing");
        }
    }
}

/// Something mounted where a terminal's program writes; unmounted at the end.
struct Mounted(PathBuf);

impl Mounted {
    /// Runs `how` with the place, which is `$1`, as the last word; `None` where nothing can be mounted.
    fn new(t: &Terminal, how: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("SKIPPED: needs root to mount");
            return None;
        }
        let mounted = Self(t.state.path().join("whytop"));
        std::fs::create_dir(&mounted.0).unwrap();
        let place = mounted.0.display();
        sh(&format!("set -- {place}; {how} {place}"));
        Some(mounted)
    }

    fn freeze(&self, flag: &str) {
        sh(&format!("fsfreeze {flag} {}", self.0.display()));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let path = self.0.display();
        let script = format!("fsfreeze -u {path} 2>/dev/null; umount -l {path}");
        let _ = std::process::Command::new("sh").args(["-c", &script]).status();
    }
}

fn sh(script: &str) {
    let out = std::process::Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
}

#[test]
fn a_frozen_disk_holds_up_neither_keys_nor_the_end() {
    let mut t = Terminal::start(&["--read-only"], "xterm-256color");
    // In memory, so that a busy disk below it plays no part.
    let disk = "d=$(mktemp -p /dev/shm); truncate -s 32M $d; mkfs.ext4 -q -F $d; mount -o loop $d \"$1\"; rm $d; :";
    let Some(mounted) = Mounted::new(&t, disk) else { return };
    t.wait_for("the live screen", |s| s.contents().contains("LIVE"));
    mounted.freeze("-f");
    for (key, word) in [
        ("w", "saves the last"),
        ("P", "saves the screen"),
        ("w", "every process that writes waits"),
        ("r", "the disk has not answered"),
    ] {
        t.press(key);
        t.wait_for(word, |s| s.contents().contains(word));
    }
    for (key, shows) in [("3", "trouble  all"), ("5", "OF RAM")] {
        t.press(key);
        t.wait_for("that keys answer", |s| s.contents().contains(shows));
    }
    t.press("q");
    assert!(t.end().success());
    t.assert_given_back();
    let told = String::from_utf8_lossy(&t.drawn).into_owned();
    assert!(told.contains("saves the last") && told.contains("when it does"), "{told}");
    mounted.freeze("-u");
    // The processes that were left behind write what they have.
    let is_whole = |file: &PathBuf| Reader::open(file).is_ok_and(|reader| reader.is_closed());
    for begins in ["ring-", "host", "screen-"] {
        let start = whytop::collect::now();
        let is_there = |file: &PathBuf| begins == "screen-" || is_whole(file);
        while !t.written(begins, "").iter().any(is_there) {
            let waited_s = whytop::collect::now().since(start);
            assert!(waited_s < PATIENCE.as_secs_f64(), "no {begins} after the thaw: {:?}; {told}", t.written("", ""));
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_is_left_on_it() {
    let mut t = Terminal::start(&["--read-only"], "xterm-256color");
    let Some(_mounted) = Mounted::new(&t, "mount -t tmpfs -o size=4k none") else { return };
    t.wait_for("the live screen", |s| s.contents().contains("LIVE"));
    t.press("w");
    t.wait_for("its word", |s| s.contents().contains("not saved in") && s.contents().contains("No space left"));
    assert!(t.written("", "").is_empty());
    t.press("r");
    t.wait_for("that of a recording", |s| s.contents().contains("record") && s.contents().contains("No space left"));
    t.press("q");
    assert!(t.end().success());
}

#[test]
fn work_that_fails_saves_the_ring_unasked_within_its_bounds() {
    // A socket that nobody reads, and datagrams for it.
    let deaf = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = deaf.local_addr().unwrap();
    let (stop, is_over) = channel::<()>();
    let flood = std::thread::spawn(move || {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        while is_over.recv_timeout(Duration::from_millis(10)).is_err_and(|e| e == RecvTimeoutError::Timeout) {
            for _ in 0..50 {
                let _ = socket.send_to(&[0; 1000], to);
            }
        }
    });
    let mut config = tempfile::NamedTempFile::new().unwrap();
    config.write_all(b"auto_save_files = 2\n").unwrap();
    let mut t = Terminal::start(&["--config", config.path().to_str().unwrap()], "xterm-256color");
    let dir = t.state.path().join("whytop");
    std::fs::create_dir(&dir).unwrap();
    for name in ["critical-20000101T000000Z.whytop", "critical-20010101T000000Z.whytop", "ring-20000101T000000Z.whytop"]
    {
        std::fs::write(dir.join(name), "old").unwrap();
    }
    t.wait_for("its word", |s| s.contents().contains("saved the last") && s.contents().contains("work is failing"));
    let (saved, rings) = (t.written("critical-", ".whytop"), t.written("ring-", ".whytop"));
    t.press("q");
    assert!(t.end().success());
    drop((stop, deaf));
    flood.join().unwrap();
    assert_eq!((saved.len(), rings.len()), (2, 1), "{saved:?} {rings:?}");
    assert!(saved[0].ends_with("critical-20010101T000000Z.whytop"), "{saved:?}");
    let notes = Reader::open(&saved[1]).unwrap().notes().unwrap();
    assert!(notes.iter().any(|n| matches!(n, Note::Finding(found) if &*found.severity == "critical")), "{notes:?}");
}
