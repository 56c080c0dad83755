//! Plots of what was kept, as SVG: lines over two axes on which every step is a tenfold.
//!
//! Owns which plots there are. Invariant: equal numbers give equal bytes, so that a test can tell an old plot.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, anyhow};
use plotters::prelude::*;

use crate::recorded::{self, Recorded};

/// Width and height of a plot, in pixels.
const SIZE: (u32, u32) = (720, 420);
/// Colours that the colour-blind can tell apart (Okabe and Ito, 2008).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
];

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
            let drawn = plot.draw(&recorded).with_context(|| format!("the plot `{}`", plot.file))?;
            plots.push((path(plot.file), drawn));
        }
    }
    Ok(plots)
}

/// The whole powers of ten around some values.
fn powers_around(values: impl Iterator<Item = f64> + Clone) -> std::ops::Range<f64> {
    let least = values.clone().fold(f64::MAX, f64::min).log10().floor();
    let most = values.fold(f64::MIN, f64::max).log10().ceil();
    10_f64.powf(least)..10_f64.powf(most.max(least + 1.0))
}

impl Plot {
    fn draw(&self, recorded: &Recorded) -> anyhow::Result<String> {
        let lines: Vec<(&str, Vec<(f64, f64)>)> = self
            .series
            .iter()
            .map(|series| (series.name, recorded.points(series.of, self.x.0, series.y)))
            .filter(|(_, points)| !points.is_empty())
            .collect();
        let points = || lines.iter().flat_map(|(_, points)| points.iter().copied());
        points().next().context("nothing was measured of it")?;
        let x = powers_around(points().map(|(x, _)| x)).log_scale();
        let y = powers_around(points().map(|(_, y)| y)).log_scale();
        let mut svg = String::new();
        self.draw_on(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), (x, y), &lines)
            .map_err(|e| anyhow!("{e}"))?;
        Ok(svg)
    }

    fn draw_on<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, plotters::coord::Shift>,
        (x, y): (impl Into<LogCoord<f64>>, impl Into<LogCoord<f64>>),
        lines: &[(&str, Vec<(f64, f64)>)],
    ) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, ("sans-serif", 16))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(x.into(), y.into())?;
        chart.configure_mesh().x_desc(self.x.1).y_desc(self.y).light_line_style(WHITE).draw()?;
        for ((name, points), colour) in lines.iter().zip(COLOURS) {
            chart
                .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?
                .label(*name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .border_style(BLACK.mix(0.2))
            .draw()?;
        area.present()
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
        assert_eq!(powers_around([3.0, 2_000.0].into_iter()), 1.0..10_000.0);
        assert_eq!(powers_around([100.0].into_iter()), 100.0..1_000.0);
    }
}
