//! Numbers as tables show them.

use super::{Interval, Metric, Sure};

/// A number with as many digits as tables have.
fn shown(value: f64, metric: Metric) -> String {
    match metric {
        Metric::Agreement | Metric::Confidence | Metric::Calibration => format!("{:.2} %", value * 100.0),
        Metric::Psnr => format!("{value:.2}"),
        Metric::Equal => format!("{value:.0}"),
        Metric::Kernel => format!("{value:.5}"),
        Metric::Inception => format!("{value:.3}"),
        Metric::Frechet
        | Metric::SpatialFrechet
        | Metric::Precision
        | Metric::Recall
        | Metric::Density
        | Metric::Coverage => {
            format!("{value:.4}")
        }
        Metric::Ssim | Metric::Flip | Metric::Lpips => format!("{value:.4}"),
    }
}

/// Likewise, with half the width of its interval behind it; a change has its sign.
#[must_use]
pub fn with_interval(of: Sure, metric: Metric, signed: bool) -> String {
    let sign = if signed && of.value >= 0.0 { "+" } else { "" };
    let value = format!("{sign}{}", shown(of.value, metric));
    match of.interval {
        // One end may lie where the number cannot.
        Some(Interval { low, high }) => {
            format!("{value} ± {}", shown(f64::max(high - of.value, of.value - low), metric))
        }
        None => value,
    }
}

/// Which way is better.
#[must_use]
pub const fn arrow(metric: Metric) -> char {
    if metric.larger_is_better() { '↑' } else { '↓' }
}

/// A column's head in LaTeX.
#[must_use]
pub fn latex_head(metric: Metric) -> String {
    let arrow = if metric.larger_is_better() { "\\uparrow" } else { "\\downarrow" };
    format!("{} ${arrow}$", metric.label())
}

/// A number with its interval in LaTeX.
#[must_use]
pub fn latex_number(of: Sure, metric: Metric) -> String {
    format!("${}$", with_interval(of, metric, false).replace('±', "\\pm").replace(" %", "\\,\\%"))
}

/// Text that LaTeX prints as it is.
#[must_use]
pub fn latex(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', c]),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
        escaped
    })
}
