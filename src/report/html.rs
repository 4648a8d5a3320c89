//! A document as one self-contained HTML file: no script, nothing fetched, charts as inline SVG.

use super::document::{Block, amount};
use super::reel::Reel;
use crate::view::text::printable;
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c2024;--dim:#66707a;--line:#d5dade;--paper:#fff;--bad:#b3261e;--warn:#8a5a00;--chart:#2563a8}\
@media(prefers-color-scheme:dark){:root{--ink:#dfe3e7;--dim:#98a2ab;--line:#3a4148;--paper:#15181b;--bad:#ff8a80;--warn:#f0b94d;--chart:#7cb3ee}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:62rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem}h2{font-size:1.25rem;margin-top:2.2rem;border-bottom:1px solid var(--line)}h3{font-size:1rem;margin-top:1.6rem}\
table{border-collapse:collapse;font-size:.9em}th,td{text-align:left;vertical-align:top;padding:.15rem .8rem .15rem 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}\
th{color:var(--dim);font-weight:600}td:first-child{white-space:nowrap}pre,code{font-family:ui-monospace,monospace;font-size:.9em}\
pre{padding:.5rem .8rem;border:1px solid var(--line);overflow-x:auto}.critical b{color:var(--bad)}.warning b{color:var(--warn)}\
figure{display:inline-block;margin:.4rem 1.2rem .4rem 0;vertical-align:top}figcaption{font-size:.8em;color:var(--dim)}\
svg path{fill:none;stroke:var(--chart);stroke-width:1.5}svg .area{fill:var(--chart);opacity:.15;stroke:none}svg .axis{stroke:var(--line)}svg .limit{stroke:var(--bad);stroke-dasharray:4 3}";

/// Width and height of a chart, pixels.
const CHART: (f64, f64) = (280.0, 64.0);

/// The document as HTML.
#[must_use]
pub fn html(title: &str, blocks: &[Block<'_>]) -> String {
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head><body>\n",
        escaped(title)
    );
    for block in blocks {
        let _ = match block {
            Block::Heading(level, text) => writeln!(out, "<h{level}>{}</h{level}>", escaped(text)),
            Block::Text(text) => writeln!(out, "<p>{}</p>", escaped(text)),
            Block::Verdict(severity, text) => {
                writeln!(out, "<p class=\"{severity}\"><b>{severity}</b> {}</p>", escaped(text))
            }
            Block::List(items) => {
                let items: Vec<String> = items.iter().map(|item| escaped(item)).collect();
                writeln!(out, "<ul><li>{}</li></ul>", items.join("</li><li>"))
            }
            Block::Command(command) => writeln!(out, "<pre>{}</pre>", escaped(command)),
            Block::Table(head, rows) => {
                let row = |tag: &str, cells: Vec<String>| {
                    format!("<tr><{tag}>{}</{tag}></tr>\n", cells.join(&format!("</{tag}><{tag}>")))
                };
                let top = row("th", head.iter().map(|c| escaped(c)).collect());
                let body = rows.iter().map(|r| row("td", r.iter().map(|c| escaped(c)).collect())).collect::<String>();
                writeln!(out, "<table>{top}{body}</table>")
            }
            Block::Charts(charts) => {
                let charts: String =
                    charts.iter().map(|(name, reel, unit, limit)| figure(name, reel, unit, *limit)).collect();
                writeln!(out, "<div>{charts}</div>")
            }
        };
    }
    out.push_str("</body></html>\n");
    out
}

fn figure(name: &str, reel: &Reel, unit: &str, limit: Option<f64>) -> String {
    let points = reel.points();
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return String::new() };
    let (width, height) = CHART;
    let peak = reel.peak();
    // A limit far above everything would flatten the line.
    let limit = limit.filter(|l| *l > 0.0 && *l <= peak * 2.0);
    let top = limit.map_or(peak, |l| l.max(peak)).max(f64::MIN_POSITIVE) * 1.05;
    let span = last.0.saturating_sub(first.0).max(1) as f64;
    let y = |value: f64| height - (value.max(0.0) / top) * height;
    let mut path = String::new();
    for (n, (at, value)) in points.iter().enumerate() {
        let x = at.saturating_sub(first.0) as f64 / span * width;
        let _ = write!(path, "{}{x:.1} {:.1}", if n == 0 { 'M' } else { 'L' }, y(*value));
    }
    let line = limit.map_or_else(String::new, |l| format!("<path class=\"limit\" d=\"M0 {0:.1}H{width}\"/>", y(l)));
    format!(
        "<figure><svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" \
         aria-label=\"{name}\"><path class=\"area\" d=\"{path}L{width} {height}L0 {height}Z\"/>\
         <path class=\"axis\" d=\"M0 {height}H{width}\"/>{line}<path d=\"{path}\"/></svg>\
         <figcaption>{name}: peak {}, at the end {}</figcaption></figure>",
        escaped(&amount(peak, unit)),
        escaped(&amount(last.1, unit)),
        name = escaped(name),
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in printable(text).chars() {
        match ch {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            ch => out.push(ch),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let page = html("</title><script>", &[Block::Text("<script>alert(1)</script>\u{1b}[31m".into())]);
        assert!(!page.contains("<script") && !page.contains('\u{1b}'), "{page}");
    }

    #[test]
    fn a_chart_stays_in_its_frame() {
        let mut reel = Reel::default();
        for n in 0..50 {
            reel.push(n, (n * 100) as f64);
        }
        let svg = figure("x", &reel, "sockets", Some(5000.0));
        let numbers: Vec<f64> = svg
            .split("d=\"M")
            .skip(1)
            .flat_map(|d| d.split('"').next().unwrap().split(['L', ' ', 'H', 'Z', 'M']).collect::<Vec<_>>())
            .filter_map(|n| n.parse().ok())
            .collect();
        assert!(numbers.len() > 100 && numbers.iter().all(|n| (0.0..=CHART.0).contains(n)), "{svg}");
        assert!(svg.contains("class=\"limit\""));
    }
}
