//! From features to points with colours and pictures.

use std::collections::HashMap;

use super::super::check::About;
use super::super::divisions::Division;
use super::components::Components;
use super::{plane, sample, sheet};
use crate::collect::{Collected, Row};
use crate::findings::Finding;
use crate::kind::Kind;
use crate::text::{count, counted, percent, shown};
use crate::thumbnails::Thumbnails;
use crate::view::{Category, Colouring, MAP_SIZE, Map, Point, Section, Tone};
use dismax::calibration::Scatter;
use dismax::error::Result;

/// Most images on the map.
const MAX_IMAGES: usize = 2000;
/// Fewest images for which a map says more than their gallery.
const MIN_IMAGES: usize = 10;
/// Most images that can be pointed at: their pictures are the larger part of the map.
const MAX_POINTS: usize = 400;
/// Most colourings by divisions of the rows.
const MAX_DIVISIONS: usize = 3;
/// Most categories that have a symbol of their own: more cannot be told apart.
const MAX_CATEGORIES: usize = 14;

/// What a map is drawn from.
pub(super) struct Drawing<'a> {
    pub collected: &'a Collected,
    pub classes: &'a [String],
    /// In the order of the table.
    pub findings: &'a [Finding],
    /// Each is a colouring; the first [`MAX_DIVISIONS`] that have more than one value.
    pub divisions: &'a [Division],
    pub thumbnails: &'a mut Thumbnails,
    /// The last so many features are those that the head sees.
    pub head_features: usize,
}

/// An image on the map.
struct Place<'a> {
    x: u32,
    y: u32,
    row: u32,
    record: Row<'a>,
    kind: Option<Kind>,
}

impl Drawing<'_> {
    /// The section with the map. `scan` visits every image that was scored once: its position among these and its
    /// features `[F]`. None where there are too few images, or their features do not vary.
    pub fn section(
        &mut self,
        about: &About,
        scan: impl FnOnce(&mut dyn FnMut(usize, &[f32]) -> Result<()>) -> Result<()>,
    ) -> Result<Option<Section>> {
        let collected = self.collected;
        let mut images: Vec<(u32, u32)> = Vec::new();
        for (row, record) in collected.rows().enumerate().filter(|(_, record)| record.prediction.is_some()) {
            // Images are numbered in the order in which they first come.
            if images.last().is_none_or(|(last, _)| *last < record.image) {
                images.push((record.image, row as u32));
            }
        }
        let image_of = |row: u32| collected.row(row as usize).map(|record| record.image);
        let chosen = sample::choose(&images, image_of, self.findings, MAX_IMAGES);
        let position = |row: u32| images.binary_search_by_key(&image_of(row)?, |(image, _)| *image).ok();

        // One pass for the directions; the features of what is drawn are remembered on the way.
        let mut remembered: HashMap<usize, Vec<f32>> =
            chosen.rows.iter().filter_map(|(row, _)| Some((position(*row)?, Vec::new()))).collect();
        let mut scatter = Scatter::new(self.head_features);
        let mut direction = Vec::new();
        scan(&mut |image, features| {
            let seen = features.len().checked_sub(self.head_features).and_then(|start| features.get(start..));
            normalised(seen.unwrap_or(features), &mut direction);
            scatter.add(&direction);
            if let Some(kept) = remembered.get_mut(&image) {
                kept.clone_from(&direction);
            }
            Ok(())
        })?;
        let Some(components) = Components::of(&scatter) else { return Ok(None) };
        let along = |row: u32| {
            let features = remembered.get(&position(row)?).filter(|features| !features.is_empty())?;
            Some(components.project(features))
        };
        let (rows, points): (Vec<_>, Vec<_>) = chosen
            .rows
            .iter()
            .filter_map(|&(row, kind)| Some(((row, kind, collected.row(row as usize)?), along(row)?)))
            .unzip();
        if rows.len() < MIN_IMAGES {
            return Ok(None);
        }
        let (places, outside) = plane::place(&points);
        let places: Vec<Place<'_>> = places
            .into_iter()
            .zip(rows)
            .map(|((x, y), (row, kind, record))| Place { x, y, row, record, kind })
            .collect();

        let [first, second] = components.shares;
        let summary = format!(
            "{} of {} as points: images that the model sees alike lie close together. The two directions hold {} of \
             the variance of its features.",
            count(places.len() as u64),
            counted(images.len() as u64, "image"),
            percent(first + second)
        );
        let mut section = about.section(Tone::Plain, summary);
        section.footnote = (outside > 0).then(|| {
            let (lies, it) = if outside == 1 { ("lies", "it is") } else { ("lie", "they are") };
            format!(
                "{} {lies} farther out than the map reaches: {it} drawn at its edge.",
                counted(outside as u64, "image")
            )
        });
        section.map = Some(self.map(&places, [first, second])?);
        Ok(Some(section))
    }

    fn map(&mut self, places: &[Place<'_>], shares: [f64; 2]) -> Result<Map> {
        let colourings = self.colourings(places);
        let pointed: Vec<&Place<'_>> = places.iter().take(MAX_POINTS).collect();
        let mut thumbnails = Vec::with_capacity(pointed.len());
        for place in &pointed {
            thumbnails.push(self.thumbnails.get(place.row as usize)?.jpeg);
        }
        let largest = |colouring: &Colouring| {
            let parts = colouring.categories.iter().map(|part| format!("{} {}", count(part.points), part.name));
            format!("{}: {}", colouring.title, parts.collect::<Vec<_>>().join(", "))
        };
        Ok(Map {
            size: MAP_SIZE,
            alt: format!(
                "{} in the plane of the two principal components of their features. {}.",
                counted(places.len() as u64, "image"),
                colourings.iter().map(largest).collect::<Vec<_>>().join(". ")
            ),
            axes: [("first", shares[0]), ("second", shares[1])]
                .map(|(name, share)| format!("{name} component, {} of the variance", percent(share))),
            points: pointed.iter().map(|place| self.point(place)).collect(),
            sheet: sheet::sheet(&thumbnails),
            colourings,
        })
    }

    fn point(&self, place: &Place<'_>) -> Point {
        let class = |class: u32| self.classes.get(class as usize).map_or("", String::as_str);
        let predicted = place.record.prediction.map_or("", |prediction| class(prediction.class));
        let caption = match place.record.label {
            Some(label) => format!("{}, labelled {}", shown(predicted), shown(class(label))),
            None => shown(predicted),
        };
        let (file, row) = self.collected.place(place.row as usize);
        let kind = place.kind.map(|kind| format!("{}; ", kind.title())).unwrap_or_default();
        Point { x: place.x, y: place.y, caption, note: format!("{kind}{}, row {}", shown(file), count(row)) }
    }

    /// By finding, by class, by label and by the divisions, as far as there is more than one of each.
    fn colourings(&self, places: &[Place<'_>]) -> Vec<Colouring> {
        let class = |class: u32| Some((class as usize, self.classes.get(class as usize)?.as_str()));
        let found = |place: &Place<'_>| place.kind.map(|kind| (kind as usize, kind.title()));
        let predicted = |place: &Place<'_>| class(place.record.prediction?.class);
        let label = |place: &Place<'_>| class(place.record.label?);
        let of_images = [
            colouring("Finding", places, found, "no finding"),
            colouring("Predicted class", places, predicted, "no prediction"),
            colouring("Label", places, label, "no label"),
        ];
        let of_divisions = self.divisions.iter().filter_map(|division| {
            let value = |place: &Place<'_>| {
                let code = *division.codes.get(place.row as usize)? as usize;
                Some((code, division.values.get(code)?.as_str()))
            };
            colouring(&division.by, places, value, "")
        });
        let colourings: Vec<Colouring> =
            of_images.into_iter().flatten().chain(of_divisions.take(MAX_DIVISIONS)).collect();
        // One class and nothing found: there is still a map.
        if colourings.is_empty() { vec![single(places)] } else { colourings }
    }
}

/// Features at length 1, as the head takes them; zeros stay zeros.
fn normalised(features: &[f32], direction: &mut Vec<f32>) {
    let length = features.iter().map(|value| value * value).sum::<f32>().sqrt();
    let scale = if length > 0.0 { length.recip() } else { 0.0 };
    direction.clear();
    direction.extend(features.iter().map(|value| value * scale));
}

/// A value that points are coloured by: its number and name.
type Value<'a> = (usize, &'a str);
/// Where points are.
type Points = Vec<(i64, i64)>;

/// Points coloured by a value, which has a number and a name; those without one, and those of rarer values than the
/// [`MAX_CATEGORIES`] commonest, make the background. None where all have the same.
fn colouring<'a>(
    title: &str,
    places: &[Place<'_>],
    value: impl Fn(&Place<'_>) -> Option<Value<'a>>,
    without: &str,
) -> Option<Colouring> {
    let mut of_value: HashMap<Option<Value<'_>>, Points> = HashMap::new();
    for place in places {
        of_value.entry(value(place)).or_default().push((i64::from(place.x), i64::from(place.y)));
    }
    if of_value.len() < 2 {
        return None;
    }
    let nothing = of_value.remove(&None).unwrap_or_default();
    let mut values: Vec<(Value<'_>, Points)> =
        of_value.into_iter().filter_map(|(value, points)| Some((value?, points))).collect();
    values.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then(a.0.cmp(&b.0)));
    let rare: Points = values.drain(MAX_CATEGORIES.min(values.len())..).flat_map(|(_, points)| points).collect();
    values.sort_by_key(|(value, _)| *value);
    // A class looks the same as label and as prediction, and a kind in every audit, where there are symbols enough.
    let by_number = values.iter().all(|((number, _), _)| *number < plane::SYMBOLS);
    let own = values.into_iter().enumerate().map(|(position, ((number, name), points))| {
        category(name, Some(if by_number { number } else { position }), points)
    });
    let background = [(without, nothing), ("others", rare)].into_iter().filter(|(_, points)| !points.is_empty());
    let background = background.map(|(name, points)| category(name, None, points));
    Some(Colouring { title: shown(title), categories: background.chain(own).collect() })
}

/// All points alike.
fn single(places: &[Place<'_>]) -> Colouring {
    let points = places.iter().map(|place| (i64::from(place.x), i64::from(place.y))).collect();
    Colouring { title: "Nothing".into(), categories: vec![category("images", Some(0), points)] }
}

fn category(name: &str, symbol: Option<usize>, points: Vec<(i64, i64)>) -> Category {
    Category {
        name: shown(name),
        points: points.len() as u64,
        symbol,
        key: plane::path(symbol, [(0, 0)]),
        path: plane::path(symbol, points),
    }
}
