//! Classes of labels: the model's, or the labels that occur where there is no model.

use std::collections::HashMap;

use super::text::clipped;
use dismax::dataset::{Chunk, ClassMap, Given, LabelColumn, Labels};
use dismax::error::Result;

/// Most different labels of data without a model: more are no classes.
const MAX_LABELS: usize = 10_000;
/// Most characters of a label that is kept.
const LONGEST: usize = 200;

/// Which classes labels are counted by.
#[derive(Debug)]
pub(super) enum LabelClasses<'a> {
    /// The model's.
    OfModel(&'a [String]),
    /// The labels that occur, in this dataset or in its reference.
    OfData(DataClasses),
}

/// Labels that occur, numbered as they come.
#[derive(Debug, Default)]
pub(super) struct DataClasses {
    number_of: HashMap<String, usize>,
    /// What they are put in order by.
    keys: Vec<(i64, String)>,
    has_too_many: bool,
}

/// The labels of a dataset as classes.
pub(super) enum Labelling<'a> {
    OfModel(ClassMap<'a>),
    OfData(&'a mut DataClasses, &'a LabelColumn),
}

impl LabelClasses<'_> {
    /// How the labels of a column become these classes.
    pub fn labelling<'a>(&'a mut self, column: &'a LabelColumn) -> Labelling<'a> {
        match self {
            Self::OfModel(classes) => Labelling::OfModel(ClassMap::new(column, classes)),
            Self::OfData(classes) => Labelling::OfData(classes, column),
        }
    }
}

impl Labelling<'_> {
    /// What the label of each row says.
    pub fn given(&mut self, chunk: &Chunk) -> Result<Vec<Given>> {
        match self {
            Self::OfModel(map) => map.given(chunk),
            Self::OfData(classes, column) => classes.given(column, chunk),
        }
    }
}

impl DataClasses {
    fn given(&mut self, column: &LabelColumn, chunk: &Chunk) -> Result<Vec<Given>> {
        let name_of = |number: i64| {
            let names = column.class_names().unwrap_or_default();
            let name = usize::try_from(number).ok().and_then(|number| names.get(number));
            name.map_or_else(|| number.to_string(), |name| clipped(name, LONGEST))
        };
        Ok(match column.labels_of(chunk)? {
            Labels::Indices(labels) => {
                let mut class = |number| self.class_of(number, name_of(number));
                labels.into_iter().map(|label| label.map_or(Given::Null, &mut class)).collect()
            }
            Labels::Names(labels) => {
                // Whole numbers as text are put in order as numbers.
                let mut class = |name: String| self.class_of(name.parse().unwrap_or(i64::MAX), clipped(&name, LONGEST));
                labels.into_iter().map(|label| label.map_or(Given::Null, &mut class)).collect()
            }
        })
    }

    fn class_of(&mut self, order: i64, name: String) -> Given {
        let next = self.keys.len();
        if next == MAX_LABELS && !self.number_of.contains_key(&name) {
            self.has_too_many = true;
            return Given::Null;
        }
        let number = *self.number_of.entry(name.clone()).or_insert(next);
        if number == next {
            self.keys.push((order, name));
        }
        Given::Class(number)
    }

    /// The classes in order, and for each label as numbered so far its place among them; none where there are more
    /// labels than classes can be.
    pub fn finish(self) -> Option<(Vec<String>, Vec<u32>)> {
        if self.has_too_many {
            return None;
        }
        let mut keys: Vec<((i64, String), usize)> = self.keys.into_iter().zip(0..).collect();
        keys.sort_unstable();
        let mut places = vec![0; keys.len()];
        for (place, (_, number)) in keys.iter().enumerate() {
            if let Some(of_number) = places.get_mut(*number) {
                *of_number = place as u32;
            }
        }
        Some((keys.into_iter().map(|((_, name), _)| name).collect(), places))
    }
}

/// Why there are no classes.
pub(super) fn too_many(column: &LabelColumn) -> String {
    format!("the label column \"{}\" has more than {MAX_LABELS} different values, which are no classes", column.name())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

    use super::*;

    fn chunk(labels: ArrayRef) -> (LabelColumn, Chunk) {
        let record_batch = RecordBatch::try_from_iter_with_nullable([("label", labels, true)]).expect("a record batch");
        let column = LabelColumn::find(&record_batch.schema(), None).expect("a label column");
        (column, Chunk { record_batch, file: "made up".into(), source: 0, first_row: 0 })
    }

    /// Names of the labels of a chunk.
    type Labels = Vec<Option<String>>;

    /// The names of the labels of each chunk after all of them, and the classes.
    fn classes(chunks: Vec<ArrayRef>) -> Option<(Vec<Labels>, Vec<String>)> {
        let mut classes = LabelClasses::OfData(DataClasses::default());
        let given: Vec<Vec<Given>> = chunks
            .into_iter()
            .map(|labels| {
                let (column, chunk) = chunk(labels);
                classes.labelling(&column).given(&chunk).expect("labels")
            })
            .collect();
        let LabelClasses::OfData(classes) = classes else { return None };
        let (names, places) = classes.finish()?;
        let name = |given: Given| match given {
            Given::Class(class) => Some(names[places[class] as usize].clone()),
            _ => None,
        };
        Some((given.into_iter().map(|given| given.into_iter().map(name).collect()).collect(), names))
    }

    #[test]
    fn labels_that_occur_are_the_classes_in_order() {
        let texts = StringArray::from(vec![Some("dog"), None, Some("cat"), Some("dog")]);
        let more = StringArray::from(vec!["ant", "dog"]);
        let (given, names) = classes(vec![Arc::new(texts), Arc::new(more)]).expect("few labels");
        assert_eq!(names, ["ant", "cat", "dog"]);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(given, [vec![text("dog"), None, text("cat"), text("dog")], vec![text("ant"), text("dog")]]);
        for labels in [
            Arc::new(Int64Array::from(vec![10, 9, -1, 10])) as ArrayRef,
            Arc::new(StringArray::from(vec!["10", "9", "-1", "10"])),
        ] {
            assert_eq!(classes(vec![labels]).expect("few labels").1, ["-1", "9", "10"]);
        }
    }

    #[test]
    fn very_many_labels_are_no_classes() {
        let numbers = |count: i64| -> Vec<ArrayRef> { vec![Arc::new(Int64Array::from_iter_values(0..count))] };
        assert_eq!(classes(numbers(MAX_LABELS as i64)).expect("few labels").1.len(), MAX_LABELS);
        assert!(classes(numbers(MAX_LABELS as i64 + 1)).is_none());
        assert!(too_many(&chunk(numbers(1).remove(0)).0).contains("\"label\" has more than 10000"));
    }
}
