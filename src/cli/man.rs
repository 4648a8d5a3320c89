//! `whytop man`: one page that holds every command.

use super::args::Cli;
use super::out;
use clap::{Arg, Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use std::process::ExitCode;

const FILES: &[(&str, &str)] = &[
    (
        "$XDG_CONFIG_HOME/whytop/config.toml",
        "Settings: interval, theme, max_cpu, ascii, read_only, audit_log, audit_syslog, state_dir, auto_save, \
         auto_save_files, auto_save_size, and rules.ID.KNOB.",
    ),
    ("$XDG_CONFIG_HOME/whytop/themes/NAME.toml", "Themes of your own."),
    (
        "$XDG_STATE_HOME/whytop/",
        "What the live screens write; without that variable /var/lib/whytop for root and ~/.local/state/whytop for \
         others; state_dir in the configuration names another. host.whytop is what r records, ring-TIME.whytop what w \
         saves, critical-TIME.whytop what is saved unasked when work begins to fail, screen-TIME.svg and .txt what P \
         saves. Only files of the third kind are ever removed, the oldest first.",
    ),
];

const ENVIRONMENT: &[(&str, &str)] = &[
    ("XDG_CONFIG_HOME, XDG_STATE_HOME", "Where the directories under FILES are."),
    ("NO_COLOR", "When set and not empty, no colours are used."),
    ("TERM, COLORTERM", "Say how many colours the terminal has."),
];

const STATUS: &[(&str, &str)] = &[
    ("0", "All went well; with why --exit-code: calm."),
    ("1", "Something failed; with why --exit-code: a warning; of kill: not all became as asked."),
    (
        "2",
        "Bad use of the command line or the configuration; with why --exit-code: a critical finding; of kill: refused.",
    ),
    ("3", "With why --exit-code: the host could not be looked at; of kill: bad use."),
];

/// Prints the page.
pub fn run() -> anyhow::Result<ExitCode> {
    out::print(&String::from_utf8_lossy(&page()?))?;
    Ok(ExitCode::SUCCESS)
}

fn page() -> std::io::Result<Vec<u8>> {
    let mut root = Cli::command();
    root.build();
    let mut page = Vec::new();
    let man = Man::new(root.clone());
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for command in root.get_subcommands().filter(|c| !c.is_hide_set()) {
        render_command(&mut roff, command);
    }
    roff.control("SH", ["OPTIONS OF EVERY COMMAND"]);
    root.get_arguments().for_each(|arg| render_arg(&mut roff, arg));
    for (title, rows) in [("FILES", FILES), ("ENVIRONMENT", ENVIRONMENT), ("EXIT STATUS", STATUS)] {
        roff.control("SH", [title]);
        for (name, text) in rows {
            roff.control("TP", []).text([bold(*name)]).text([roman(*text)]);
        }
    }
    roff.control("SH", ["EXAMPLES"]);
    render_help(&mut roff, &root);
    roff.to_writer(&mut page)?;
    Ok(page)
}

fn render_command(roff: &mut Roff, command: &Command) {
    let usage = command.clone().render_usage().to_string();
    roff.control("SS", [usage.trim_start_matches("Usage: ")]);
    roff.text([roman(format!("{}.", command.get_about().map(ToString::to_string).unwrap_or_default()))]);
    command.get_arguments().filter(|arg| !arg.is_global_set()).for_each(|arg| render_arg(roff, arg));
    render_help(roff, command);
}

fn render_arg(roff: &mut Roff, arg: &Arg) {
    let (Some(help), false) = (arg.get_help(), ["help", "version"].contains(&arg.get_id().as_str())) else { return };
    let takes_value = arg.get_action().takes_values();
    let mut head: Vec<Inline> = Vec::new();
    if let Some(long) = arg.get_long() {
        head.push(bold(format!("--{long}")));
        head.push(roman(" "));
    }
    if takes_value {
        head.extend(arg.get_value_names().unwrap_or_default().iter().map(|name| italic(name.as_str())));
    }
    let values: Vec<String> = arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
    let choice = if values.is_empty() || !takes_value { String::new() } else { format!(": {}", values.join(", ")) };
    let default: Vec<_> = arg.get_default_values().iter().map(|v| v.to_string_lossy()).collect();
    let default =
        if default.is_empty() || !takes_value { String::new() } else { format!(" [default: {}]", default.join(" ")) };
    roff.control("TP", []).text(head).text([roman(format!("{help}{choice}{default}."))]);
}

/// The text below a command's help, as it stands.
fn render_help(roff: &mut Roff, command: &Command) {
    let Some(help) = command.get_after_help() else { return };
    roff.control("PP", []).control("nf", []);
    roff.text([roman(help.to_string())]);
    roff.control("fi", []);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_every_command_and_every_option() {
        let page = String::from_utf8(page().unwrap()).unwrap().replace("\\-", "-");
        let mut root = Cli::command();
        root.build();
        for command in root.get_subcommands().filter(|c| !c.is_hide_set()).chain([&root]) {
            assert!(
                page.contains(&format!("whytop {}", command.get_name())) || command.get_name() == "whytop",
                "{page}"
            );
            for long in
                command.get_arguments().filter_map(Arg::get_long).filter(|long| !["help", "version"].contains(long))
            {
                assert!(page.contains(&format!("--{long}")), "--{long} in {page}");
            }
        }
    }
}
