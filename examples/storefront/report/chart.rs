//! A small language for charts over the time of a run, written as inline SVG: no script, nothing from elsewhere.

use crate::faults::Script;
use std::{
    fmt::{Display, Write},
    ops::Range,
    time::Duration,
};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 22.0;

/// A chart that grows: first what lies behind, then what lies above.
#[derive(Debug)]
pub(super) struct Chart {
    svg: String,
    run: Duration,
    height: f64,
    /// The value at the top.
    most: f64,
}

impl Chart {
    /// A frame with the phases of the script behind it and the time below. `height` is that of the data alone.
    pub(super) fn new(name: &str, script: &Script, height: f64, most: f64) -> Self {
        let run = script.phases[script.phases.len() - 1].until;
        let total = TOP + height + BOTTOM;
        let svg = format!(r#"<svg viewBox="0 0 {WIDTH} {total}" role="img" aria-label="{name}">"#);
        let mut chart = Self { svg, run, height, most };
        for phase in &script.phases {
            chart.phase(phase.fault.as_str(), phase.from..phase.until);
        }
        let outage = &script.catalog_outage;
        let (left, right) = (chart.x(outage.start), chart.x(outage.end));
        chart.rectangle("outage", left, TOP, right - left, height, "");
        chart.time_axis();
        chart
    }

    /// Lines across, with values; the unit stands above them.
    pub(super) fn value_axis(&mut self, unit: &str) {
        for value in ticks(self.most, 4) {
            let y = self.y(value);
            self.line("grid", (LEFT, y), (WIDTH - RIGHT, y));
            self.text("", LEFT - 7.0, y + 4.0, "end", value);
        }
        self.text("", 0.0, 12.0, "start", unit);
    }

    /// Rows instead of values.
    pub(super) fn lanes(&mut self, names: &[&str]) {
        for (lane, name) in names.iter().enumerate() {
            let (top, height) = self.lane(lane, names.len());
            self.text("", LEFT - 7.0, top + height / 2.0 + 4.0, "end", name);
        }
    }

    /// A piece of time in one of several rows; never too thin to see.
    pub(super) fn band(&mut self, class: &str, time: Range<Duration>, lane: usize, lanes: usize) {
        let (top, height) = self.lane(lane, lanes);
        let (left, right) = (self.x(time.start), self.x(time.end));
        self.rectangle(class, left, top, (right - left).max(1.5), height, "");
    }

    /// A curve through points; where a value is missing it is broken.
    pub(super) fn curve(&mut self, class: &str, points: impl IntoIterator<Item = (Duration, Option<f64>)>) {
        let mut path = String::new();
        let mut pen_is_down = false;
        for (time, value) in points {
            if let Some(value) = value {
                let step = if pen_is_down { 'L' } else { 'M' };
                write!(path, "{step}{:.1} {:.1}", self.x(time), self.y(value)).expect("a string takes everything");
            }
            pen_is_down = value.is_some();
        }
        self.put(format_args!(r#"<path class="{class}" d="{path}"/>"#));
    }

    /// Values of one piece of time, piled up from the bottom.
    pub(super) fn pile(&mut self, time: &Range<Duration>, values: &[(&str, f64)]) {
        let (left, right) = (self.x(time.start), self.x(time.end));
        let mut below = 0.0;
        for &(class, value) in values {
            let (bottom, top) = (self.y(below), self.y(below + value));
            if value > 0.0 {
                self.rectangle(class, left, top, right - left, bottom - top, "");
            }
            below += value;
        }
    }

    /// What the reader is told when pointing at a piece of time.
    pub(super) fn tip(&mut self, time: &Range<Duration>, text: &str) {
        let (left, right) = (self.x(time.start), self.x(time.end));
        let title = format!("<title>{text}</title>");
        self.rectangle("over", left, TOP, right - left, self.height, &title);
    }

    pub(super) fn finish(mut self) -> String {
        let bottom = TOP + self.height;
        self.line("axis", (LEFT, bottom), (WIDTH - RIGHT, bottom));
        self.svg + "</svg>"
    }

    fn phase(&mut self, name: &str, time: Range<Duration>) {
        let (left, right) = (self.x(time.start), self.x(time.end));
        self.rectangle(name, left, TOP, right - left, self.height, "");
        self.text("phase", f64::midpoint(left, right), TOP - 6.0, "middle", name);
        if !time.start.is_zero() {
            self.line("border", (left, TOP - 16.0), (left, TOP + self.height));
        }
    }

    fn time_axis(&mut self) {
        let seconds = self.run.as_secs_f64();
        for tick in ticks(seconds, 12) {
            let x = self.x(Duration::from_secs_f64(tick));
            let bottom = TOP + self.height;
            self.line("axis", (x, bottom), (x, bottom + 4.0));
            // The unit stands once, at the beginning.
            if tick > 0.0 {
                self.text("", x, bottom + 17.0, "middle", tick);
            } else {
                self.text("", x, bottom + 17.0, "middle", "0 s");
            }
        }
    }

    fn lane(&self, lane: usize, lanes: usize) -> (f64, f64) {
        let height = self.height / crate::measure::number(lanes);
        (TOP + height * crate::measure::number(lane) + 2.0, height - 4.0)
    }

    fn x(&self, time: Duration) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * time.as_secs_f64() / self.run.as_secs_f64()
    }

    fn y(&self, value: f64) -> f64 {
        TOP + self.height * (1.0 - (value / self.most).min(1.0))
    }

    fn rectangle(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64, inside: &str) {
        self.put(format_args!(
            r#"<rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}">{inside}</rect>"#
        ));
    }

    fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.put(format_args!(r#"<line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/>"#));
    }

    fn text(&mut self, class: &str, x: f64, y: f64, anchor: &str, text: impl Display) {
        self.put(format_args!(r#"<text class="{class}" x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#));
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        self.svg.write_fmt(element).expect("a string takes everything");
        self.svg.push('\n');
    }
}

/// Round values from zero up to the most; about so many.
fn ticks(most: f64, about: u32) -> Vec<f64> {
    let rough = most / f64::from(about);
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(rough);
    (0..=2 * about).map(|n| f64::from(n) * step).take_while(|value| *value <= most * 1.001).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(100.0, 4), [0.0, 50.0, 100.0]);
        assert_eq!(ticks(500.0, 4), [0.0, 200.0, 400.0]);
        assert_eq!(ticks(20.0, 12), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0, 18.0, 20.0]);
    }

    #[test]
    fn a_curve_is_broken_where_there_is_no_value() {
        let script = Script::over(Duration::from_secs(10));
        let mut chart = Chart::new("test", &script, 100.0, 1.0);
        let values = [Some(0.0), Some(1.0), None, Some(1.0)];
        chart.curve("first", (0..).map(Duration::from_secs).zip(values));

        let svg = chart.finish();
        let path = svg.split("<path").nth(1).unwrap();
        assert_eq!((path.matches('M').count(), path.matches('L').count()), (2, 1));
    }
}
