//! `whytop report`: an outage written up from its recording.

use super::args::{Global, ReportArgs, ReportFormat};
use super::out;
use super::recording::Recording;
use super::setup::Settings;
use crate::report::{Report, blocks, html, markdown};
use anyhow::Context;
use std::io::Write;
use std::process::ExitCode;

/// Reads the recording and writes the report.
pub fn run(global: &Global, args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings::load(global)?;
    let recording = Recording::open(&args.file, args.redact)?;
    let pass = recording.walk(&settings, |_| Ok(()))?;
    let Recording { actions, marks, .. } = recording;
    let report = Report::new(&pass.outage, pass.host, pass.damage, actions, marks);
    let text = match args.format {
        ReportFormat::Md => markdown(&blocks(&report)),
        ReportFormat::Html => {
            let host = report.host.as_ref().map_or("", |h| &*h.name);
            html(&format!("Outage report: {host}, {}", report.from), &blocks(&report))
        }
        ReportFormat::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    match &args.out {
        Some(path) => {
            let mut file = out::private_file(path).with_context(|| path.display().to_string())?;
            file.write_all(text.as_bytes()).with_context(|| path.display().to_string())?;
        }
        None => out::print(&text)?,
    }
    Ok(ExitCode::SUCCESS)
}
