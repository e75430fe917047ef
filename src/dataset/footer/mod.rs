//! A look at the footer of a Parquet file before the reader takes memory for what it counts.
//!
//! A footer is a structure of Apache Thrift's compact protocol. The reader trusts some of its counts: 49 bytes that
//! count two thousand million row groups make it ask for 200 GiB, which ends the process, and thousands of groups
//! inside each other are more than its stack. Here every list must fit into the bytes that are left, as each of its
//! elements takes one at least, and groups may lie [`MOST_LEVELS`] deep. So that the reader sees what is seen here,
//! each field that it [knows](layout) must have its type.

mod compact;
mod layout;
#[cfg(test)]
mod tests;

use parquet::errors::ParquetError;

use self::compact::{BINARY, BYTE, DOUBLE, FALSE, I16, I32, I64, LIST, MAP, SET, STOP, STRUCT, TRUE, UUID};
use self::layout::{FILE, NAME, NUM_CHILDREN, ROW_GROUP, ROW_GROUPS, SCHEMA, SCHEMA_ELEMENT, Shape};

type Result<T = ()> = std::result::Result<T, ParquetError>;

/// Groups of a schema inside each other. Nobody's data are so deep, and the reader's stack is deeper.
const MOST_LEVELS: usize = 128;
/// Structures and lists inside each other: the format has 8.
const MOST_NESTED: usize = 32;
/// The reader numbers row groups by 16 bits with a sign.
const MOST_ROW_GROUPS: u64 = 1 << 15;

/// Checks the bytes of a footer without taking memory for them.
///
/// # Errors
/// [`ParquetError::General`] for counts and lengths that do not fit, for known fields of another type, and for a schema
/// that is too deep.
pub(super) fn check(footer: &[u8]) -> Result {
    let mut walk = Walk { rest: footer };
    walk.fields(&mut |walk, id, found| match (id, found) {
        (SCHEMA, LIST) => walk.schema(),
        (ROW_GROUPS, LIST) => walk.row_groups(),
        (SCHEMA | ROW_GROUPS, other) => Err(other_type(other)),
        _ => walk.value(found, layout::of(FILE, id), 0),
    })
}

/// What is left of the footer.
struct Walk<'a> {
    rest: &'a [u8],
}

impl<'a> Walk<'a> {
    fn bytes(&mut self, count: u64) -> Result<&'a [u8]> {
        let left = self.rest.len();
        let taken = usize::try_from(count).ok().and_then(|count| self.rest.split_off(..count));
        taken.ok_or_else(|| fault(format!("it holds {count} bytes in the {left} that are left")))
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.bytes(1)?[0])
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(fault("it holds a number of more than 64 bits".into()))
    }

    /// A number whose sign is its lowest bit.
    fn signed(&mut self) -> Result<i64> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The elements of a list and their type.
    fn list(&mut self) -> Result<(u64, u8)> {
        let head = self.byte()?;
        let count = match head >> 4 {
            15 => self.number()?,
            count => u64::from(count),
        };
        self.fit(count)?;
        Ok((count, head & 15))
    }

    fn fit(&self, count: u64) -> Result {
        match count > self.rest.len() as u64 {
            true => Err(fault(format!("it counts {count} elements in the {} bytes that are left", self.rest.len()))),
            false => Ok(()),
        }
    }

    /// Calls `each` with the number and the type of every field of a structure; it must pass over the value.
    fn fields(&mut self, each: &mut dyn FnMut(&mut Self, i16, u8) -> Result) -> Result {
        let mut id = 0i16;
        loop {
            let head = self.byte()?;
            if head & 15 == STOP {
                return Ok(());
            }
            let next = match head >> 4 {
                0 => i16::try_from(self.signed()?).ok(),
                step => id.checked_add(step.into()),
            };
            id = next.ok_or_else(|| fault("it holds a field whose number has more than 16 bits".into()))?;
            each(self, id, head & 15)?;
        }
    }

    /// Passes over the value of a field.
    fn value(&mut self, found: u8, shape: &'static Shape, depth: usize) -> Result {
        match (shape, found) {
            // A boolean field's type is its value.
            (Shape::Any | Shape::Flag, TRUE | FALSE) => Ok(()),
            (Shape::Flag, other) => Err(other_type(other)),
            _ => self.element(found, shape, depth),
        }
    }

    /// Passes over an element of a list, or the value of a field that takes bytes.
    fn element(&mut self, found: u8, shape: &'static Shape, depth: usize) -> Result {
        if depth > MOST_NESTED {
            return Err(fault(format!("it holds more than {MOST_NESTED} structures inside each other")));
        }
        match (shape, found) {
            (Shape::Any, _) => self.any(found, depth),
            (Shape::Of(wanted), _) if *wanted == found => self.any(found, depth),
            (Shape::Struct(fields), STRUCT) => {
                self.fields(&mut |walk, id, found| walk.value(found, layout::of(fields, id), depth + 1))
            }
            (Shape::List(of), LIST) => {
                let (count, found) = self.list()?;
                (0..count).try_for_each(|_| self.element(found, of, depth + 1))
            }
            _ => Err(other_type(found)),
        }
    }

    /// Passes over a value of which only the type is known.
    fn any(&mut self, found: u8, depth: usize) -> Result {
        match found {
            BYTE => self.byte().map(drop),
            I16 | I32 | I64 => self.number().map(drop),
            DOUBLE => self.bytes(8).map(drop),
            UUID => self.bytes(16).map(drop),
            BINARY => {
                let length = self.number()?;
                self.bytes(length).map(drop)
            }
            STRUCT => self.fields(&mut |walk, _, found| walk.value(found, &Shape::Any, depth + 1)),
            LIST | SET => {
                let (count, found) = self.list()?;
                (0..count).try_for_each(|_| self.element(found, &Shape::Any, depth + 1))
            }
            MAP => {
                let count = self.number()?;
                self.fit(count)?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.element(kinds >> 4, &Shape::Any, depth + 1)?;
                    self.element(kinds & 15, &Shape::Any, depth + 1)
                })
            }
            // The reader takes no byte for booleans of a list that it passes over, others take one.
            other => Err(fault(format!("it holds a value of the type {other}, which no footer has"))),
        }
    }

    /// Passes over the schema: its elements in depth-first order, each with the number of its children.
    fn schema(&mut self) -> Result {
        let (count, found) = self.list()?;
        // Children that are still to come, of each group around the element, and those of all groups.
        let (mut open, mut children_of_all) = (Vec::<u64>::new(), 0u64);
        for _ in 0..count {
            if found != STRUCT {
                return Err(other_type(found));
            }
            let (mut children, mut has_name) = (0, false);
            self.fields(&mut |walk, id, found| {
                if (id, found) == (NUM_CHILDREN, I32) {
                    let number = u32::try_from(walk.signed()?).ok().filter(|number| *number <= i32::MAX as u32);
                    children = number.ok_or_else(|| fault("a group of its schema has no number of columns".into()))?;
                    return Ok(());
                }
                has_name |= id == NAME;
                walk.value(found, layout::of(SCHEMA_ELEMENT, id), 1)
            })?;
            if !has_name {
                return Err(fault("a column of its schema has no name".into()));
            }
            children_of_all += u64::from(children);
            if children_of_all >= count.max(1) {
                return Err(fault(format!("groups of its schema have more than the {count} columns of all")));
            }
            while open.pop_if(|left| *left == 0).is_some() {}
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                open.push(children.into());
            }
            if open.len() > MOST_LEVELS {
                return Err(fault(format!("its schema has more than {MOST_LEVELS} groups inside each other")));
            }
        }
        Ok(())
    }

    fn row_groups(&mut self) -> Result {
        let (count, found) = self.list()?;
        if count > MOST_ROW_GROUPS {
            return Err(fault(format!("it counts {count} row groups, of which {MOST_ROW_GROUPS} can be told apart")));
        }
        (0..count).try_for_each(|_| self.element(found, &ROW_GROUP, 1))
    }
}

fn other_type(found: u8) -> ParquetError {
    fault(format!("a field that is known has the type {found}, not its own"))
}

fn fault(what: String) -> ParquetError {
    ParquetError::General(format!("the footer does not add up: {what}"))
}
