//! What all charts share: the canvas, colours, fonts, the legend and the text of names.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// Plotters has an error type for each kind of drawing area.
pub(crate) type Drawing<T = ()> = Result<T, Box<dyn std::error::Error>>;
/// Why no drawing fails: SVG text goes to a `String`, and without fonts plotters estimates the width of text.
pub(crate) const INFALLIBLE: &str = "drawing into a String does no I/O and loads no font";

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

pub(crate) const FONT: &str = "sans-serif";
/// Font size of titles in pixels.
pub(crate) const TITLE: u32 = 16;
/// Font size of everything else.
pub(crate) const LABEL: u32 = 13;
/// Height of a line of a legend.
pub(crate) const LINE: u32 = 22;
/// Longest name in a chart, in characters; of a longer one only the end is shown.
pub(crate) const MAX_NAME: usize = 80;

pub(crate) const BLUE: RGBColor = RGBColor(0x00, 0x72, 0xB2);
pub(crate) const VERMILLION: RGBColor = RGBColor(0xD5, 0x5E, 0x00);
pub(crate) const GREEN: RGBColor = RGBColor(0x00, 0x9E, 0x73);
pub(crate) const GREY: RGBColor = RGBColor(0x66, 0x66, 0x66);

/// The symbol in front of a legend's entry.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mark {
    Line,
    Dashes,
    Box,
}

/// A picture of this size on white.
pub(crate) fn picture(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawing) -> String {
    transparent_picture(size, |root| {
        root.fill(&WHITE)?;
        draw(root)
    })
}

/// A picture of this size without a background.
pub(crate) fn transparent_picture(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawing) -> String {
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    draw(&root).expect(INFALLIBLE);
    root.present().expect(INFALLIBLE);
    drop(root);
    svg
}

/// A legend in columns of `width` pixels from (`left`, 0) on, filled row by row.
pub(crate) fn legend(
    area: &Area<'_>,
    left: i32,
    width: i32,
    columns: usize,
    entries: &[(Mark, RGBColor, String)],
) -> Drawing {
    let anchor = Pos::new(HPos::Left, VPos::Center);
    let style = TextStyle::from((FONT, LABEL).into_font()).pos(anchor);
    for (index, (mark, colour, text)) in entries.iter().enumerate() {
        let x = left + (index % columns) as i32 * width;
        let y = (index / columns) as i32 * LINE as i32 + LINE as i32 / 2;
        match mark {
            Mark::Line => {
                area.draw(&PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(2)))?;
            }
            Mark::Dashes => {
                for start in [x, x + 8, x + 16] {
                    let dash = PathElement::new([(start, y), (start + 4, y)], colour.stroke_width(2));
                    area.draw(&dash)?;
                }
            }
            Mark::Box => {
                let corners = [(x, y - 6), (x + 20, y + 6)];
                area.draw(&Rectangle::new(corners, colour.mix(0.35).filled()))?;
                area.draw(&Rectangle::new(corners, colour.stroke_width(1)))?;
            }
        }
        area.draw(&Text::new(text.as_str(), (x + 28, y), style.clone()))?;
    }
    Ok(())
}

/// A name from outside as text for a picture: one line, not too long, without characters that XML forbids. What XML
/// merely quotes (`<`, `&`, `"`), plotters quotes.
pub(crate) fn plain(name: &str) -> String {
    let forbidden = |c: char| c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}');
    let text: Vec<char> = name.chars().map(|c| if forbidden(c) { ' ' } else { c }).collect();
    match text.len() > MAX_NAME {
        // The end of a path tells more than its beginning.
        true => ['…'].iter().chain(&text[text.len() - MAX_NAME + 1..]).collect(),
        false => text.into_iter().collect(),
    }
}

pub(crate) fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
