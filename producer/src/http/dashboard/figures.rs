//! Figures in SVG. Their sizes are attributes: the policy allows no style that is written into a page.

use maud::{Markup, html};

/// How much of something is done.
pub(super) fn bar(done: i64, of: i64, label: &str) -> Markup {
    html! {
        span.bar {
            progress max=(of.max(1)) value=(done.clamp(0, of.max(1))) aria-label=(label) {}
            span.count { (done) " / " (of) }
        }
    }
}

/// A stretch of time within a longer one, as percentages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stretch {
    pub(super) from: f64,
    pub(super) width: f64,
}

/// Where `start..end` lies in `0..whole`, all in milliseconds. Never narrower than can be seen.
pub(super) fn stretch(start: i64, end: i64, whole: i64) -> Stretch {
    let whole = whole.max(1) as f64;
    let from = (start.max(0) as f64 / whole * 100.0).min(99.0);
    let width = (((end - start).max(0)) as f64 / whole * 100.0).clamp(0.6, 100.0 - from);
    Stretch { from, width }
}

pub(super) fn span(stretch: Stretch, class: &str) -> Markup {
    html! {
        svg.span width="100%" height="12" aria-hidden="true" {
            rect.track x="0" y="5" width="100%" height="2" {}
            rect.(class) x=(format!("{:.2}%", stretch.from)) y="1" width=(format!("{:.2}%", stretch.width)) height="10" rx="2" {}
        }
    }
}

/// Columns that are stacked of parts, one class each; the highest reaches the top.
pub(super) fn columns<const N: usize>(bars: &[[i64; N]], classes: [&str; N], label: &str) -> Markup {
    let (width, height) = (10, 120);
    let highest = bars.iter().map(|parts| parts.iter().sum()).max().unwrap_or(0).max(1);
    html! {
        svg.columns viewBox=(format!("0 0 {} {height}", bars.len() * width)) preserveAspectRatio="none" role="img" aria-label=(label) {
            rect.track x="0" y=(height - 1) width="100%" height="1" {}
            @for (i, parts) in bars.iter().enumerate() {
                @for (part, class) in stacked(parts, highest, height as f64).into_iter().zip(classes) {
                    @if part.width > 0.0 {
                        rect.(class) x=(i * width + 1) width=(width - 2) y=(format!("{:.1}", part.from)) height=(format!("{:.1}", part.width)) {}
                    }
                }
            }
        }
        p.hint { "0 – " (highest) }
    }
}

/// From the ground up: where each part begins, counted from the top, and how high it is.
fn stacked<const N: usize>(parts: &[i64; N], highest: i64, height: f64) -> [Stretch; N] {
    let mut ground = height;
    parts.map(|part| {
        let tall = part.max(0) as f64 / highest as f64 * height;
        ground -= tall;
        Stretch { from: ground, width: tall }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_on_each_other() {
        let parts = stacked(&[1, 2, 1], 8, 80.0);
        assert_eq!(parts.map(|part| (part.from, part.width)), [(70.0, 10.0), (50.0, 20.0), (40.0, 10.0)]);
    }

    #[test]
    fn a_stretch_stays_inside_and_can_be_seen() {
        assert_eq!(stretch(250, 500, 1_000), Stretch { from: 25.0, width: 25.0 });
        for (start, end, whole) in [(0, 0, 0), (-5, 2_000, 1_000), (1_000, 1_000, 1_000), (900, 5_000, 1_000)]
        {
            let Stretch { from, width } = stretch(start, end, whole);
            assert!(
                (0.0..=100.0).contains(&from) && width >= 0.6 && from + width <= 100.001,
                "{start} {end}"
            );
        }
    }
}
