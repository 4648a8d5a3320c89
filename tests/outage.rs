//! `report` and `export` of a recording with one real host's snapshots and a SYN_SENT pile written into them.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::RowAccessor;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use whytop::export::{DERIVED, TABLES};
use whytop::record::{Frame, Header, Log, Mark, Note, Writer};
use whytop::snapshot::{Moment, Section, Snapshot, SockGroup, Sockets, TcpState};

const SECRET: &str = "--password=hunter2";
const SECOND_NS: u64 = 1_000_000_000;

fn whytop(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_whytop"));
    command.args(args).env_clear().env("HOME", "/nonexistent").output().unwrap()
}

fn good(args: &[&str]) -> String {
    let output = whytop(args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A real look at this host.
fn look() -> Snapshot {
    serde_json::from_str(&good(&["snapshot", "--json"])).unwrap()
}

/// A recording of `seconds` in which a task of ours piles up connections from second 5 to 20.
fn record(dir: &Path, host: &str, seconds: u64) -> PathBuf {
    let base = look();
    let mut writer = Writer::new(Vec::<Frame>::new()).unwrap();
    let victim = base.tasks.data().unwrap().rows.iter().find(|t| t.pid_is(std::process::id())).unwrap().key;
    for second in 0..seconds {
        let mut snap = base.clone();
        let at = Moment(base.at.0 + second * SECOND_NS);
        snap.at = at;
        snap.wall_unix_ns += i64::try_from(second * SECOND_NS).unwrap();
        if let Section::Ok { data, .. } = &mut snap.host {
            Arc::make_mut(data).name = host.into();
        }
        if let Section::Ok { at: read, data } = &mut snap.tasks {
            *read = at;
            let rows = &mut Arc::make_mut(data).rows;
            rows.iter_mut().find(|t| t.key == victim).unwrap().cmdline = Some(format!("agent {SECRET}").into());
        }
        let count = if (5..20).contains(&second) { 200 + 10 * second } else { 0 };
        let netns = snap.host.data().unwrap().netns;
        let pile = SockGroup {
            netns,
            owner: Some(victim),
            state: TcpState::SynSent,
            remote_addr: Some("10.9.8.7".parse().unwrap()),
            remote_port: Some(61616),
            count,
            ..SockGroup::default()
        };
        let groups = if count > 0 { vec![pile] } else { Vec::new() };
        snap.sockets = Section::ok(at, Sockets { groups, netns: vec![netns], ..Sockets::default() });
        writer.push(&snap, None).unwrap();
        if second == 8 {
            let wall_unix_ns = snap.wall_unix_ns;
            let mark = Mark { at, wall_unix_ns, text: "called | the broker team <b>".into() };
            writer.note(wall_unix_ns, &Note::Mark(mark)).unwrap();
        }
    }
    let (mut log, mut bytes) = Log::new(&Header::of(&base)).unwrap();
    for frame in writer.into_sink() {
        bytes.extend(log.append(&frame).unwrap());
    }
    let path = dir.join(format!("{host}.wtr"));
    std::fs::write(&path, bytes).unwrap();
    path
}

trait PidIs {
    fn pid_is(&self, pid: u32) -> bool;
}

impl PidIs for whytop::snapshot::Task {
    fn pid_is(&self, pid: u32) -> bool {
        self.key.pid == pid
    }
}

#[test]
fn a_report_tells_the_story_in_every_form() {
    let dir = tempfile::tempdir().unwrap();
    let file = record(dir.path(), "web-1", 40);
    let file = file.to_str().unwrap();

    let report: Value = serde_json::from_str(&good(&["report", file, "--format", "json"])).unwrap();
    let stories = report["stories"].as_array().unwrap();
    let pile = |s: &&Value| s["findings"][0]["id"] == "tcp.syn_sent_pile";
    let story = stories.iter().find(pile).unwrap_or_else(|| panic!("{report:#}"));
    let finding = &story["findings"][0];
    assert_eq!((&finding["root"], &finding["peak"], &story["active"]), (&true.into(), &390.0.into(), &false.into()));
    assert!(finding["series"].as_array().unwrap().len() > 10);
    assert!(report["timeline"].as_array().unwrap().iter().any(|o| o["what"] == "mark"));
    assert_eq!(report["samples"], 40);

    let text = good(&["report", file]);
    for part in
        ["# Outage report: web-1", "tcp.syn\\_sent\\_pile", "10.9.8.7:61616", "called \\| the broker", "## Timeline"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    let page = dir.path().join("report.html");
    good(&["report", file, "--format", "html", "-o", page.to_str().unwrap()]);
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("<svg") && html.contains("called | the broker team &lt;b&gt;"));
    assert!(!html.contains("http://") && !html.contains("https://") && !html.contains("<script"), "self-contained");
    assert_eq!(std::fs::metadata(&page).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn tables_of_two_hosts_are_read_as_they_are_and_secrets_can_be_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut hosts = Vec::new();
    for host in ["web-1", "web-2"] {
        let file = record(dir.path(), host, 8);
        let out = dir.path().join(host);
        good(&["export", file.to_str().unwrap(), "--format", "parquet", "-o", out.to_str().unwrap(), "--redact"]);
        let open = |table: &str| SerializedFileReader::new(std::fs::File::open(out.join(table)).unwrap()).unwrap();
        let tcp = open("tcp.parquet");
        let schema = tcp.metadata().file_metadata().schema_descr();
        let names: Vec<&str> =
            (0..schema.num_columns()).map(|i| schema.column(i).name().to_owned().leak() as &str).collect();
        assert_eq!(&names[..3], ["host", "boot_id", "time"]);
        let at = |name: &str| names.iter().position(|n| *n == name).unwrap();
        let rows: Vec<_> = tcp.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 3);
        hosts.push(rows[0].get_string(0).unwrap().clone());
        assert_eq!(rows[0].get_string(at("state")).unwrap(), "syn_sent");
        assert_eq!(rows[0].get_long(at("sockets")).unwrap(), 250);
        let tasks = open("tasks.parquet");
        assert!(
            !format!("{:?}", tasks.get_row_iter(None).unwrap().map(Result::unwrap).collect::<Vec<_>>())
                .contains(SECRET)
        );
        // Read once, though every sample holds it.
        assert_eq!(open("cpu.parquet").metadata().file_metadata().num_rows(), 1);
        assert_eq!(open("findings.parquet").metadata().num_row_groups(), 1);
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), TABLES.len() + DERIVED.len());
    }
    assert_eq!(hosts, ["web-1", "web-2"]);
}

#[test]
fn every_cell_is_of_its_columns_type() {
    let snap = look();
    for table in TABLES {
        let mut rows = 0;
        (table.fill)(&snap, &mut |cells| {
            rows += 1;
            assert_eq!(cells.len(), table.columns.len(), "{}", table.name);
            for (cell, column) in cells.iter().zip(table.columns) {
                let kind = cell.kind().unwrap_or(column.kind);
                assert_eq!(kind, column.kind, "{} {}", table.name, column.name);
            }
        });
        assert!(
            rows > 0
                || ["threads", "qdiscs", "klog", "listeners", "udp", "talkers", "tcp", "pressure"]
                    .contains(&table.name)
        );
    }
}

#[test]
fn one_table_is_a_stream_of_lines() {
    let dir = tempfile::tempdir().unwrap();
    let file = record(dir.path(), "web-1", 3);
    let file = file.to_str().unwrap();
    let csv = good(&["export", file, "--format", "csv", "--section", "tasks"]);
    assert!(csv.starts_with("host,boot_id,time,pid,") && csv.contains(SECRET));
    assert_eq!(csv.lines().filter(|l| l.contains(SECRET)).count(), 3);
    let lines = good(&["export", file, "--format", "jsonl", "--section", "marks", "--redact"]);
    assert_eq!(lines, "", "no mark was set");
    for line in good(&["export", file, "--format", "jsonl", "--section", "memory"]).lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        assert!(row["value"].is_number() && row["time"].as_str().unwrap().ends_with('Z'), "{row}");
    }
}

#[test]
fn what_can_not_be_done_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = dir.path().join("passwd");
    std::fs::write(&foreign, "root:x:0:0").unwrap();
    let foreign = foreign.to_str().unwrap();
    for (args, said, status) in [
        (&["report", "/nonexistent.wtr"][..], "/nonexistent.wtr", 1),
        (&["report", foreign], "is no recording of whytop", 1),
        (&["export", foreign, "--format", "csv"], "is no recording of whytop", 1),
        (&["export", foreign, "--format", "xlsx"], "possible values: jsonl, csv, parquet", 2),
        (&["export", foreign, "--format", "csv", "--section", "wine"], "possible values: cpu,", 2),
    ] {
        let output = whytop(args);
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(err.contains(said), "{args:?}: {err}");
        assert_eq!(output.status.code(), Some(status), "{err}");
    }
    let file = record(dir.path(), "web-1", 2);
    let output = whytop(&["export", file.to_str().unwrap(), "--format", "csv"]);
    assert_eq!(output.status.code(), Some(2), "a directory or one table");
}
