//! Drawings of the size of a word: a number as a bar, and sparklines (Tufte, *Beautiful Evidence*, 2006). Like the
//! charts of an audit they have no background.

use plotters::prelude::*;

use crate::draw::{BLUE, Drawing, GREY, transparent_picture};

const BAR: (u32, u32) = (56, 12);
const LINE: (u32, u32) = (120, 24);
/// Room around a sparkline for its dots.
const MARGIN: i32 = 3;

/// A bar that fills a share of its length; `share` lies in [0, 1], what lies outside is taken to the nearer end.
pub fn bar(share: f64) -> String {
    let (width, height) = (BAR.0 as i32, BAR.1 as i32);
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    transparent_picture(BAR, |root| {
        // What is more than nothing must be seen.
        let length = (share * f64::from(width)).ceil() as i32;
        root.draw(&Rectangle::new([(0, height - 1), (width, height)], GREY.mix(0.35).filled()))?;
        root.draw(&Rectangle::new([(0, 1), (length, height - 1)], BLUE.filled()))?;
        Ok(())
    })
}

/// A line through values in the order of time, from 0 or the smallest to the largest, with a dot on the last. Where a
/// value is missing or not finite, the line has a gap.
pub fn sparkline(values: &[Option<f64>]) -> String {
    let finite = |value: &Option<f64>| value.filter(|value| value.is_finite());
    let low = values.iter().filter_map(finite).fold(0.0, f64::min);
    let high = values.iter().filter_map(finite).fold(0.0, f64::max);
    let (width, height) = (LINE.0 as i32 - 2 * MARGIN, LINE.1 as i32 - 2 * MARGIN);
    // A line of nothing but zeros lies at the bottom.
    let span = if high > low { high - low } else { 1.0 };
    // One value alone is the last: it stands at the right.
    let steps = values.len().saturating_sub(1).max(1);
    let left = if values.len() == 1 { width } else { 0 };
    let place = |index: usize, value: f64| {
        let x = left + (index as f64 / steps as f64 * f64::from(width)).round() as i32;
        (MARGIN + x, MARGIN + height - ((value - low) / span * f64::from(height)).round() as i32)
    };
    let points: Vec<Option<(i32, i32)>> =
        values.iter().enumerate().map(|(index, value)| finite(value).map(|value| place(index, value))).collect();
    transparent_picture(LINE, |root| -> Drawing {
        for run in points.split(Option::is_none) {
            let run: Vec<(i32, i32)> = run.iter().flatten().copied().collect();
            match run.as_slice() {
                [] => (),
                [alone] => root.draw(&Circle::new(*alone, 1, BLUE.filled()))?,
                run => root.draw(&PathElement::new(run, BLUE.stroke_width(1)))?,
            }
        }
        if let Some(last) = points.last().copied().flatten() {
            root.draw(&Circle::new(last, 3, BLUE.filled()))?;
        }
        Ok(())
    })
}
