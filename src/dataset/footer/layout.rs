//! What a footer is made of: the fields that the reader knows, by number and type (`parquet.thrift` of the format's
//! definition, as far as the crate `parquet` reads it).
//!
//! The reader goes by a field's number alone, and passes over unknown ones by their type. A known field of another type
//! would be read as what it is not, and what follows with it.

use super::compact::{BINARY, BYTE, DOUBLE, I16, I32, I64};

/// A type of a value.
#[derive(Debug)]
pub(super) enum Shape {
    /// Any: the reader passes over it.
    Any,
    /// A boolean, which is part of its field's type.
    Flag,
    /// A single value of this type.
    Of(u8),
    /// A list of such values.
    List(&'static Shape),
    /// A structure of these fields, in which others may be.
    Struct(&'static [(i16, Shape)]),
}

use Shape::{Any, Flag, List, Of, Struct};

const EMPTY: Shape = Struct(&[]);
const INTEGERS: Shape = List(&Of(I32));
const COUNTS: Shape = List(&Of(I64));

/// `SchemaElement.name` and `SchemaElement.num_children`.
pub(super) const NAME: i16 = 4;
pub(super) const NUM_CHILDREN: i16 = 5;

pub(super) const SCHEMA_ELEMENT: &[(i16, Shape)] = &[
    (1, Of(I32)),
    (2, Of(I32)),
    (3, Of(I32)),
    (NAME, Of(BINARY)),
    (NUM_CHILDREN, Of(I32)),
    (6, Of(I32)),
    (7, Of(I32)),
    (8, Of(I32)),
    (9, Of(I32)),
    (10, Struct(LOGICAL_TYPE)),
];

const TIME_UNIT: Shape = Struct(&[(1, EMPTY), (2, EMPTY), (3, EMPTY)]);
const TIME: Shape = Struct(&[(1, Flag), (2, TIME_UNIT)]);

const LOGICAL_TYPE: &[(i16, Shape)] = &[
    (1, EMPTY),
    (2, EMPTY),
    (3, EMPTY),
    (4, EMPTY),
    (5, Struct(&[(1, Of(I32)), (2, Of(I32))])),
    (6, EMPTY),
    (7, TIME),
    (8, TIME),
    (10, Struct(&[(1, Of(BYTE)), (2, Flag)])),
    (11, EMPTY),
    (12, EMPTY),
    (13, EMPTY),
    (14, EMPTY),
    (15, EMPTY),
    (16, Struct(&[(1, Of(BYTE))])),
    (17, Struct(&[(1, Of(BINARY))])),
    (18, Struct(&[(1, Of(BINARY)), (2, Of(I32))])),
];

const STATISTICS: Shape = Struct(&[
    (1, Of(BINARY)),
    (2, Of(BINARY)),
    (3, Of(I64)),
    (4, Of(I64)),
    (5, Of(BINARY)),
    (6, Of(BINARY)),
    (7, Flag),
    (8, Flag),
]);

const PAGE_ENCODING: Shape = Struct(&[(1, Of(I32)), (2, Of(I32)), (3, Of(I32))]);
const SIZES: Shape = Struct(&[(1, Of(I64)), (2, COUNTS), (3, COUNTS)]);

const BOUNDING_BOX: Shape = Struct(&[
    (1, Of(DOUBLE)),
    (2, Of(DOUBLE)),
    (3, Of(DOUBLE)),
    (4, Of(DOUBLE)),
    (5, Of(DOUBLE)),
    (6, Of(DOUBLE)),
    (7, Of(DOUBLE)),
    (8, Of(DOUBLE)),
]);

const COLUMN: Shape = Struct(&[
    (1, Of(I32)),
    (2, INTEGERS),
    (4, Of(I32)),
    (5, Of(I64)),
    (6, Of(I64)),
    (7, Of(I64)),
    (9, Of(I64)),
    (10, Of(I64)),
    (11, Of(I64)),
    (12, STATISTICS),
    (13, List(&PAGE_ENCODING)),
    (14, Of(I64)),
    (15, Of(I32)),
    (16, SIZES),
    (17, Struct(&[(1, BOUNDING_BOX), (2, INTEGERS)])),
]);

const COLUMN_CHUNK: Shape =
    Struct(&[(1, Of(BINARY)), (2, Of(I64)), (3, COLUMN), (4, Of(I64)), (5, Of(I32)), (6, Of(I64)), (7, Of(I32))]);

const SORTING_COLUMN: Shape = Struct(&[(1, Of(I32)), (2, Flag), (3, Flag)]);

pub(super) const ROW_GROUP: Shape = Struct(&[
    (1, List(&COLUMN_CHUNK)),
    (2, Of(I64)),
    (3, Of(I64)),
    (4, List(&SORTING_COLUMN)),
    (5, Of(I64)),
    (7, Of(I16)),
]);

/// `FileMetaData.schema` and `FileMetaData.row_groups`, which are looked at closer.
pub(super) const SCHEMA: i16 = 2;
pub(super) const ROW_GROUPS: i16 = 4;

pub(super) const FILE: &[(i16, Shape)] = &[
    (1, Of(I32)),
    (3, Of(I64)),
    (5, List(&Struct(&[(1, Of(BINARY)), (2, Of(BINARY))]))),
    (6, Of(BINARY)),
    (7, List(&Struct(&[(1, EMPTY)]))),
];

/// The shape of a field among these.
pub(super) fn of(fields: &'static [(i16, Shape)], id: i16) -> &'static Shape {
    fields.iter().find(|(known, _)| *known == id).map_or(&Any, |(_, shape)| shape)
}
