//! Plots of what was kept, as SVG: lines over two axes whose every step is a tenfold.
//!
//! Owns the drawing, and which plots there are. Invariant: equal numbers give equal bytes, so that a test can tell an old plot.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use crate::recorded::{self, Recorded};

/// Size of a plot, and where its axes begin and end, in pixels.
const SIZE: (f64, f64) = (640.0, 400.0);
const LEFT: f64 = 70.0;
const RIGHT: f64 = 460.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 350.0;
/// Colours that the colour-blind can tell apart (Okabe and Ito, 2008).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// One line: its name, and which lines of a measurement have its points.
struct Series {
    name: &'static str,
    of: &'static [(&'static str, &'static str)],
    y: &'static str,
}

/// One plot.
struct Plot {
    file: &'static str,
    title: &'static str,
    bench: &'static str,
    x: (&'static str, &'static str),
    y: &'static str,
    series: &'static [Series],
}

const fn series(name: &'static str, of: &'static [(&'static str, &'static str)], y: &'static str) -> Series {
    Series { name, of, y }
}

const PLOTS: &[Plot] = &[
    Plot {
        file: "growth.svg",
        title: "What a registry grows to (computed)",
        bench: "scale",
        x: ("packages", "packages, ten releases each"),
        y: "GB",
        series: &[
            series("records and index", &[], "index_and_records_gb"),
            series("entries of the log", &[], "entries_gb"),
            series("state map", &[], "state_gb"),
            series("tiles of the log", &[], "tiles_gb"),
        ],
    },
    Plot {
        file: "cost.svg",
        title: "What it costs a month, as many clients a day as packages (computed)",
        bench: "scale",
        x: ("packages", "packages"),
        y: "dollars",
        series: &[
            series("S3 and CloudFront", &[("prices", "S3 and CloudFront")], "usd_a_month"),
            series("of it publishing", &[("prices", "S3 and CloudFront")], "usd_publishing"),
            series("R2", &[("prices", "R2")], "usd_a_month"),
        ],
    },
    Plot {
        file: "latency.svg",
        title: "A change at so many a minute (simulated)",
        bench: "simulate",
        x: ("per_minute", "changes a minute"),
        y: "ms until it is answered",
        series: &[
            series(
                "30 ms a call, 1 publisher: p50",
                &[("round_trip_ms", "30"), ("publishers", "1")],
                "p50_ms",
            ),
            series("p99", &[("round_trip_ms", "30"), ("publishers", "1")], "p99_ms"),
            series("30 ms, 8 publishers: p99", &[("round_trip_ms", "30"), ("publishers", "8")], "p99_ms"),
            series("150 ms, 1 publisher: p50", &[("round_trip_ms", "150"), ("publishers", "1")], "p50_ms"),
            series("p99", &[("round_trip_ms", "150"), ("publishers", "1")], "p99_ms"),
            series("150 ms, 8 publishers: p99", &[("round_trip_ms", "150"), ("publishers", "8")], "p99_ms"),
        ],
    },
    Plot {
        file: "maintenance.svg",
        title: "Rebuild and audit of synthetic registries (measured)",
        bench: "rebuild",
        x: ("events", "events"),
        y: "seconds of processor time",
        series: &[
            series("rebuild of everything", &[("what", "rebuild of everything")], "cpu_s"),
            series("rebuild of nothing", &[("what", "rebuild of nothing")], "cpu_s"),
            series("audit", &[("what", "audit")], "cpu_s"),
            series("hints", &[("what", "hints")], "cpu_s"),
        ],
    },
];

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/plots").join(file)
}

/// Draws every plot whose numbers were kept.
pub(crate) fn write() -> anyhow::Result<()> {
    for (path, svg) in all()? {
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        fs_err::write(path, svg)?;
    }
    Ok(())
}

fn all() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let mut plots = Vec::new();
    for plot in PLOTS {
        if let Some(recorded) = recorded::read(plot.bench)? {
            plots.push((path(plot.file), plot.draw(&recorded)));
        }
    }
    Ok(plots)
}

/// An axis from a power of ten to another.
struct Axis {
    first: i32,
    last: i32,
    /// Where it begins and ends, in pixels.
    from: f64,
    to: f64,
}

impl Axis {
    fn over(values: impl Iterator<Item = f64> + Clone, from: f64, to: f64) -> Self {
        let least = values.clone().fold(f64::MAX, f64::min).log10().floor() as i32;
        let most = values.fold(f64::MIN, f64::max).log10().ceil() as i32;
        Self { first: least, last: most.max(least + 1), from, to }
    }

    fn place(&self, value: f64) -> f64 {
        let share = (value.log10() - f64::from(self.first)) / f64::from(self.last - self.first);
        self.from + share * (self.to - self.from)
    }
}

impl Plot {
    fn draw(&self, recorded: &Recorded) -> String {
        let lines: Vec<(&str, Vec<(f64, f64)>)> = self
            .series
            .iter()
            .map(|series| (series.name, recorded.points(series.of, self.x.0, series.y)))
            .collect();
        let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
        let x = Axis::over(points().map(|(x, _)| x), LEFT, RIGHT);
        let y = Axis::over(points().map(|(_, y)| y), BOTTOM, TOP);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n<text x=\"{LEFT}\" y=\"22\" font-size=\"14\">{}</text>\n",
            SIZE.0, SIZE.1, self.title
        );
        axes(&mut svg, &x, &y);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, RIGHT),
            BOTTOM + 38.0,
            self.x.1,
            f64::midpoint(TOP, BOTTOM),
            self.y
        );
        for (number, ((name, points), colour)) in lines.iter().zip(COLOURS).enumerate() {
            let place = |(px, py): &(f64, f64)| format!("{:.1},{:.1}", x.place(*px), y.place(*py));
            let path: Vec<String> = points.iter().map(place).collect();
            let _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                path.join(" ")
            );
            let at = TOP + 18.0 * number as f64 + 10.0;
            let _ = writeln!(
                svg,
                "<rect x=\"{}\" y=\"{}\" width=\"10\" height=\"10\" fill=\"{colour}\"/><text x=\"{}\" y=\"{at}\">{name}</text>",
                RIGHT + 10.0,
                at - 9.0,
                RIGHT + 25.0
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Both axes with a line for each power of ten.
fn axes(svg: &mut String, x: &Axis, y: &Axis) {
    let mut line = |x1: f64, y1: f64, x2: f64, y2: f64| {
        let _ = writeln!(
            svg,
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"#dddddd\"/>"
        );
    };
    for power in x.first..=x.last {
        let at = x.place(10_f64.powi(power));
        line(at, TOP, at, BOTTOM);
    }
    for power in y.first..=y.last {
        let at = y.place(10_f64.powi(power));
        line(LEFT, at, RIGHT, at);
    }
    for power in x.first..=x.last {
        let at = x.place(10_f64.powi(power));
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 18.0,
            power_of_ten(power)
        );
    }
    for power in y.first..=y.last {
        let at = y.place(10_f64.powi(power)) + 4.0;
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{at:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            power_of_ten(power)
        );
    }
}

fn power_of_ten(power: i32) -> String {
    match power {
        ..0 => format!("{:.*}", power.unsigned_abs() as usize, 10_f64.powi(power)),
        0..=2 => format!("{}", 10_f64.powi(power)),
        3..=5 => format!("{},000", 10_f64.powi(power - 3)),
        _ => format!("{} M", 10_f64.powi(power - 6)),
    }
}

impl Recorded {
    /// The points of a line, by x; those that no axis of powers has are left out.
    fn points(&self, of: &'static [(&'static str, &'static str)], x: &str, y: &str) -> Vec<(f64, f64)> {
        let mut points: BTreeMap<u64, f64> = BTreeMap::new();
        for measured in self.chosen(of) {
            if let (Some(x), Some(y)) = (measured[x].as_f64(), measured[y].as_f64())
                && x > 0.0
                && y > 0.0
            {
                points.insert(x as u64, y);
            }
        }
        points.into_iter().map(|(x, y)| (x as f64, y)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plots_show_what_was_measured() {
        for (path, svg) in all().unwrap() {
            let there = fs_err::read_to_string(&path).unwrap();
            assert!(there == svg, "`cargo run -p drystone-benches -- table` draws {} anew", path.display());
        }
    }

    #[test]
    fn axes_go_over_whole_powers() {
        let axis = Axis::over([3.0, 2_000.0].into_iter(), 0.0, 400.0);
        assert_eq!((axis.first, axis.last), (0, 4));
        assert_eq!([1.0, 100.0, 10_000.0].map(|value| axis.place(value)), [0.0, 200.0, 400.0]);
        assert_eq!([-2, 0, 2, 4, 7].map(power_of_ten), ["0.01", "1", "100", "10,000", "10 M"]);
    }
}
