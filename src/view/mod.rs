//! The draw kit: tables, trees, sparklines, gauges, themes.
