//! The plot: processor time per request relative to the reference, a group of bars for each scenario.

use std::fmt::Write as _;

use super::peers::{PEERS, REFERENCE};
use super::results::Results;
use super::scenario::SCENARIOS;
use super::stats::{Spread, ratios};

const BAR: f64 = 14.0;
const GAP: f64 = 3.0;
const GROUP_GAP: f64 = 34.0;
/// Where bars begin and how long the longest may be.
const LEFT: f64 = 150.0;
const WIDTH: f64 = 560.0;
const TOP: f64 = 58.0;

/// One colour for each peer, in the order of [`PEERS`]; told apart by those who do not see all colours.
const COLOURS: [&str; 6] = ["#0072b2", "#56b4e9", "#d55e00", "#e69f00", "#009e73", "#999999"];

/// A group's title and its bars: peer and ratios.
type Group = (&'static str, Vec<(usize, Spread)>);

/// An SVG document.
pub(super) fn plot(results: &Results) -> String {
    let groups: Vec<Group> = SCENARIOS
        .iter()
        .map(|scenario| {
            let reference = results.processor(scenario.name, REFERENCE);
            let bars = PEERS.iter().enumerate().filter_map(|(number, peer)| {
                let each = ratios(&results.processor(scenario.name, peer.name), &reference);
                Some((number, Spread::of(each)?))
            });
            (scenario.title, bars.collect::<Vec<_>>())
        })
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    draw(&groups)
}

fn draw(groups: &[Group]) -> String {
    let most = groups.iter().flat_map(|(_, bars)| bars).map(|(_, spread)| spread.most).fold(1.0, f64::max).ceil();
    let scale = WIDTH / most;
    let bars: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let bottom = TOP + bars as f64 * (BAR + GAP) + groups.len() as f64 * GROUP_GAP;
    let (width, height) = (LEFT + WIDTH + 60.0, bottom + 30.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"24\" font-size=\"15\">Processor time per request, HAProxy doing the same work = 1</text>\n\
         <text x=\"16\" y=\"42\" fill=\"#555\">Medians of the rounds' ratios, lines from the least to the most; \
         less is better</text>\n"
    );
    for tick in 0..=most as u32 {
        let x = LEFT + f64::from(tick) * scale;
        let (colour, dash) = if tick == 1 { ("#000", "") } else { ("#ccc", " stroke-dasharray=\"2 3\"") };
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"{colour}\"{dash}/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>",
            bottom + 16.0
        );
    }
    let mut y = TOP;
    for (title, bars) in groups {
        let _ = writeln!(svg, "<text x=\"16\" y=\"{:.1}\" font-weight=\"bold\">{title}</text>", y + 20.0);
        y += GROUP_GAP - 6.0;
        for (number, spread) in bars {
            bar(&mut svg, *number, spread, y, scale);
            y += BAR + GAP;
        }
        y += 6.0;
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, number: usize, spread: &Spread, y: f64, scale: f64) {
    let (middle, text) = (y + BAR / 2.0, y + BAR - 3.0);
    let (least, most) = (LEFT + spread.least * scale, LEFT + spread.most * scale);
    let _ = writeln!(
        svg,
        "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>\
         <line x1=\"{least:.1}\" x2=\"{most:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\" stroke=\"#000\"/>\
         <text x=\"{:.1}\" y=\"{text:.1}\">{:.2}</text>",
        LEFT - 8.0,
        PEERS[number].title,
        spread.median * scale,
        COLOURS[number],
        most + 6.0,
        spread.median
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_stays_in_the_picture() {
        let spread = |median: f64| Spread { least: median - 0.1, median, most: median + 0.2 };
        let svg = draw(&[("a", vec![(0, spread(0.5)), (5, spread(2.5))]), ("b", vec![(2, spread(1.0))])]);
        assert_eq!(svg.matches("<rect").count(), 4, "{svg}");
        // 2.7 is on a scale of 3
        assert!(svg.contains(&format!("x2=\"{:.1}\"", LEFT + 2.7 * WIDTH / 3.0)), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
    }

    #[test]
    fn every_peer_has_a_colour() {
        assert_eq!(COLOURS.len(), PEERS.len());
    }
}
