//! Plots as inline SVG, without scripts.

use std::fmt::Write;

use super::figure::rounded;

const WIDTH: f64 = 640.0;
const BAR: f64 = 22.0;
const LEFT: f64 = 270.0;

/// Bars with their names and values, the longest as wide as the plot. A mark shows where the goal is.
pub(super) fn bars(title: &str, unit: &str, bars: &[(String, f64)], goal: Option<f64>) -> String {
    let most = bars.iter().map(|(_, value)| *value).chain(goal).fold(0.0, f64::max).max(1e-12);
    let scale = (WIDTH - LEFT - 90.0) / most;
    let height = BAR * bars.len() as f64 + 8.0;
    let mut svg = open(title, height);
    for (place, (name, value)) in bars.iter().enumerate() {
        let y = BAR * place as f64 + 4.0;
        let width = (value * scale).max(0.5);
        let _ = write!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{}</text><rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"16\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{} {}</text>",
            LEFT - 8.0,
            y + 12.5,
            escaped(name),
            LEFT + width + 6.0,
            y + 12.5,
            rounded(*value),
            escaped(unit)
        );
    }
    if let Some(goal) = goal {
        let x = LEFT + goal * scale;
        let _ = write!(svg, "<line class=\"goal\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"{height:.0}\"/>");
    }
    svg + "</svg></figure>\n"
}

/// How large a share of the observations is at most so large.
pub(super) fn distribution(title: &str, unit: &str, values: &[f64]) -> String {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (Some(first), Some(last)) = (sorted.first().copied(), sorted.last().copied()) else {
        return String::new();
    };
    let (height, bottom, left) = (200.0, 170.0, 40.0);
    let span = (last - first).max(1e-12);
    let x = |value: f64| left + (value - first) / span * (WIDTH - left - 30.0);
    let points: Vec<String> = sorted
        .iter()
        .enumerate()
        .map(|(place, value)| {
            let share = (place + 1) as f64 / sorted.len() as f64;
            format!("{:.1},{:.1}", x(*value), bottom - share * (bottom - 10.0))
        })
        .collect();
    let mut svg = open(title, height);
    for share in [0.5, 0.95] {
        let y = bottom - share * (bottom - 10.0);
        let _ = write!(
            svg,
            "<line class=\"goal\" x1=\"{left}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"0\" y=\"{:.1}\">{:.0} %</text>",
            y + 4.0,
            share * 100.0
        );
    }
    for tick in 0..=4 {
        let value = first + span * f64::from(tick) / 4.0;
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{} {}</text>",
            x(value).min(WIDTH - 24.0),
            height - 8.0,
            rounded(value),
            escaped(unit)
        );
    }
    let _ = write!(svg, "<polyline points=\"{}\"/>", points.join(" "));
    svg + "</svg></figure>\n"
}

fn open(title: &str, height: f64) -> String {
    let title = escaped(title);
    format!(
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{title}\">"
    )
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_is_as_wide_as_the_plot_and_others_in_proportion() {
        let svg = bars("a & b", "ms", &[("<x>".into(), 10.0), ("y".into(), 5.0)], None);
        assert!(svg.contains("width=\"280.0\"") && svg.contains("width=\"140.0\""), "{svg}");
        assert!(svg.contains("a &amp; b") && svg.contains("&lt;x&gt;") && !svg.contains("<x>"), "{svg}");
    }

    #[test]
    fn a_distribution_rises_from_the_least_to_the_most() {
        let svg = distribution("d", "s", &[3.0, 1.0, 2.0]);
        assert!(svg.contains("points=\"40.0,116.7 325.0,63.3 610.0,10.0\""), "{svg}");
        assert_eq!(distribution("d", "s", &[]), "");
    }
}
