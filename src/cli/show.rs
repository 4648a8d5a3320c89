//! `whytop show PANE`: a pane once, as a table or as JSON rows.

use super::args::{Global, ShowArgs};
use super::json::{SCHEMA, TaskRow};
use super::out;
use super::setup::{BadUse, Host};
use super::text::Dress;
use super::why::Look;
use crate::detect::Window;
use crate::model::{Frame, Severity};
use crate::panes::{Table, TableOptions, TableRow, table};
use crate::snapshot::{NetnsId, Subject, TaskKey, TcpState};
use crate::view::State;
use crate::view::text::{cut, width};
use serde::Serialize;
use serde_json::{Map, Value};
use std::process::ExitCode;
use std::sync::Arc;

/// Columns of a cell at most where nothing else bounds it.
const CELL_COLUMNS: usize = 60;

/// `show --json`.
#[derive(Serialize)]
struct Json<T> {
    schema: u32,
    rows: Vec<T>,
}

/// A row of `show tcp --json`.
#[derive(Serialize)]
struct TcpRow<'a> {
    task: Option<TaskRow<'a>>,
    netns: Option<NetnsId>,
    states: Map<String, Value>,
}

/// Looks for one interval, so that rates are known, and prints the pane.
pub fn run(global: &Global, args: &ShowArgs) -> anyhow::Result<ExitCode> {
    let views = crate::panes::by_name(&args.pane).map(|p| p.views).unwrap_or_default();
    // The screens open with what is in trouble; a script wants every row and filters itself.
    let all = views.iter().map(|v| v.name()).find(|name| *name == "all");
    let options = TableOptions {
        view: args.view.clone().or_else(|| all.map(String::from)),
        sort: args.sort.clone(),
        filter: args.filter.clone().unwrap_or_default(),
        top: args.top,
    };
    // What is asked for can be judged without looking at anything.
    table(&Arc::default(), &args.pane, &options).map_err(BadUse::from)?;
    let mut host = Host::open(global)?;
    let sampler = host.patient_sampler();
    let look = Look::take(sampler, host.engine(Window::default()), host.settings.interval, None)?;
    let frame = Arc::new(look.frame);
    let table = table(&frame, &args.pane, &options).map_err(BadUse::from)?;
    match (args.json, &*args.pane, &args.view) {
        (true, "tcp", None) => out::print_json(&Json { schema: SCHEMA, rows: tcp_rows(&frame, &table) })?,
        (true, ..) => out::print_json(&Json { schema: SCHEMA, rows: rows(&table) })?,
        (false, ..) => {
            out::print(&render(&table, out::columns(), Dress::for_stdout(host.settings.ascii)))?;
        }
    }
    tell_what_is_missing(&table);
    let blind = table.matching == 0 && matches!(table.state, State::Denied(_) | State::Absent(_));
    Ok(if blind { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Rows by column id.
fn rows(table: &Table) -> Vec<Map<String, Value>> {
    let row = |row: &TableRow| {
        let cells = table.heads.iter().zip(&row.cells).map(|(head, cell)| (head.id.to_owned(), cell.json()));
        cells.collect::<Map<_, _>>()
    };
    table.rows.iter().map(row).collect()
}

/// The rows of the contract: a task, its namespace, its sockets by state.
fn tcp_rows<'a>(frame: &'a Frame, table: &'a Table) -> Vec<TcpRow<'a>> {
    let row = |row: &'a TableRow| {
        let (task, netns) = match row.subject {
            Some(Subject::Task(key)) => (Some(TaskRow::live(key, None, frame)), netns_of(frame, key)),
            Some(Subject::Netns(netns)) => (None, Some(netns)),
            _ => (None, None),
        };
        let cell = |name| table.heads.iter().position(|h| h.id == name).and_then(|at| row.cells.get(at));
        let count = |s: TcpState| (s.name().to_owned(), cell(s.name()).map_or(Value::Null, crate::view::Cell::json));
        TcpRow { task, netns, states: TcpState::ALL.into_iter().map(count).collect() }
    };
    table.rows.iter().map(row).collect()
}

/// The namespace of a task: its own, or that of its sockets where that can't be read.
fn netns_of(frame: &Frame, key: TaskKey) -> Option<NetnsId> {
    let sockets = frame.snap.sockets.data();
    frame.task(key).and_then(|t| t.netns).or_else(|| {
        let of_group = sockets?.groups.iter().find(|g| g.owner == Some(key)).map(|g| g.netns);
        of_group.or_else(|| sockets?.listeners.iter().find(|l| l.owner == Some(key)).map(|l| l.key.netns))
    })
}

/// The table in `columns`, or as wide as it is; columns that matter least go first.
fn render(table: &Table, columns: Option<usize>, dress: Dress) -> String {
    let words: Vec<Vec<String>> = table.rows.iter().map(|row| cells(table, row, dress)).collect();
    let mut shown: Vec<(usize, usize)> = (0..table.heads.len())
        .filter(|at| table.heads.get(*at).is_some_and(|h| h.least > 0))
        .map(|at| (at, column_width(table, &words, at)))
        .collect();
    let total = |shown: &[(usize, usize)]| shown.iter().map(|(_, w)| w + 2).sum::<usize>();
    while columns.is_some_and(|columns| total(&shown) > columns + 2) && shown.len() > 2 {
        let least = shown.iter().enumerate().min_by_key(|(_, (at, _))| table.heads.get(*at).map(|h| h.keep));
        let Some((drop, _)) = least else { break };
        shown.remove(drop);
    }
    let heads: Vec<String> = table.heads.iter().map(|h| h.header.to_owned()).collect();
    let mut text = format!("{}\n", dress.bold(&line(table, &heads, &shown, columns)));
    for (row, words) in table.rows.iter().zip(&words) {
        let line = line(table, words, &shown, columns);
        text += &match row.severity {
            Some(Severity::Critical) => dress.critical(&line),
            Some(Severity::Warning) => dress.warning(&line),
            None => line.as_str().into(),
        };
        text.push('\n');
    }
    text
}

fn cells(table: &Table, row: &TableRow, dress: Dress) -> Vec<String> {
    let words = |(head, cell): (&crate::view::Head, &crate::view::Cell)| {
        let words = cell.words(usize::from(head.most));
        dress.drawn(&words).into_owned()
    };
    table.heads.iter().zip(&row.cells).map(words).collect()
}

fn column_width(table: &Table, words: &[Vec<String>], at: usize) -> usize {
    let head = table.heads.get(at).map_or(0, |h| width(h.header));
    let cells = words.iter().filter_map(|row| row.get(at)).map(|w| width(w)).max().unwrap_or(0);
    cells.min(CELL_COLUMNS).max(head)
}

fn line(table: &Table, words: &[String], shown: &[(usize, usize)], columns: Option<usize>) -> String {
    let mut line = String::new();
    for (at, wide) in shown {
        let right = table.heads.get(*at).is_some_and(|h| h.right);
        let word = words.get(*at).map_or("", String::as_str);
        let last = shown.last().is_some_and(|(last, _)| last == at);
        let word = if last { word.into() } else { cut(word, *wide) };
        let gap = " ".repeat(wide.saturating_sub(width(&word)));
        let (before, after) = if right { (&*gap, "") } else { ("", &*gap) };
        for part in [before, &*word, after, "  "] {
            line.push_str(part);
        }
    }
    let line = line.trim_end();
    columns.map_or_else(|| line.into(), |columns| cut(line, columns).into_owned())
}

/// On standard error, so that the rows stay rows.
fn tell_what_is_missing(table: &Table) {
    let printable = |text: &str| crate::view::text::printable(text).into_owned();
    match &table.state {
        State::Ok(_) => {}
        State::Stale(_, why) => out::tell(&format!("whytop: old data: {}\n", printable(why))),
        State::Denied(gap) => {
            out::tell(&format!("whytop: {} was refused; it needs {}\n", printable(&gap.what), printable(&gap.fix)));
        }
        State::Absent(why) => out::tell(&format!("whytop: {}\n", printable(why))),
    }
    if table.rows.len() < table.matching {
        out::tell(&format!("whytop: {} of {} rows\n", table.rows.len(), table.matching));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, EngineOptions};
    use crate::snapshot::{Listener, ListenerKey, Moment, Section, Snapshot, SockGroup, Sockets, Task, Tasks};

    fn group(owner: Option<TaskKey>, state: TcpState, count: u64) -> SockGroup {
        SockGroup {
            netns: NetnsId(5),
            owner,
            state,
            remote_addr: Some("10.0.0.9".parse().unwrap()),
            remote_port: Some(80),
            count,
            ..SockGroup::default()
        }
    }

    fn frame() -> Arc<Frame> {
        let key = TaskKey { pid: 7, start_ticks: 9 };
        let listener = Listener {
            key: ListenerKey { netns: NetnsId(5), local: "0.0.0.0:80".parse().unwrap() },
            owner: Some(key),
            cookie: 1,
            shared_by: 1,
            queue: 0,
            backlog: 16,
            drops: None,
            syn_recv: 0,
            cgroup_id: 0,
        };
        let sockets = Sockets {
            groups: vec![group(Some(key), TcpState::SynSent, 12), group(None, TcpState::TimeWait, 3)],
            listeners: vec![listener],
            netns: vec![NetnsId(5)],
            ..Sockets::default()
        };
        let task = Task { key, comm: "ja\x1bva".into(), ..Task::default() };
        let snap = Snapshot {
            at: Moment(2),
            tasks: Section::ok(Moment(1), Tasks { rows: vec![task], ..Tasks::default() }),
            sockets: Section::ok(Moment(1), sockets),
            ..Snapshot::default()
        };
        Arc::new(Engine::new(EngineOptions::default()).step(snap))
    }

    #[test]
    fn tcp_rows_are_those_of_the_contract() {
        let frame = frame();
        let table = table(&frame, "tcp", &TableOptions::default()).unwrap();
        let rows = serde_json::to_value(tcp_rows(&frame, &table)).unwrap();
        let row = |pid: Value| rows.as_array().unwrap().iter().find(|r| r["task"]["pid"] == pid).unwrap();
        let (owned, unowned) = (row(7.into()), row(Value::Null));
        assert_eq!((&owned["states"]["syn_sent"], &owned["states"]["listen"]), (&12.into(), &1.into()));
        assert_eq!((&owned["task"]["comm"], &owned["task"]["start_ticks"]), (&"ja\x1bva".into(), &9.into()));
        assert_eq!((&unowned["task"], &unowned["states"]["time_wait"]), (&Value::Null, &3.into()));
        assert!(
            rows.as_array().unwrap().iter().all(|r| r["netns"] == 5 && r["states"].as_object().unwrap().len() == 11)
        );
    }

    #[test]
    fn every_pane_and_view_is_a_table_that_fits() {
        let frame = frame();
        for pane in crate::panes::PANES {
            for view in pane.views {
                let options = TableOptions { view: Some(view.name().into()), ..TableOptions::default() };
                let table = table(&frame, pane.name, &options).unwrap();
                let text = render(&table, Some(80), Dress { colour: false, ascii: false });
                assert!(text.lines().all(|l| width(l) <= 80), "{text}");
                assert!(!text.contains('\x1b'), "{text}");
                assert_eq!(rows(&table).len(), text.lines().count() - 1);
            }
        }
    }
}
