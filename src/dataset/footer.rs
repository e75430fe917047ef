//! A look at the footer of a Parquet file before the reader takes memory for what it counts.
//!
//! A footer is a structure of Apache Thrift's compact protocol. The reader trusts some of its counts: 49 bytes that count two
//! thousand million row groups make it ask for 200 GiB, which ends the process, and thousands of groups inside each other are
//! more than its stack. Here every list must fit into the bytes that are left, as each of its elements takes one at least,
//! and groups may lie [`MOST_LEVELS`] deep.

use parquet::errors::ParquetError;

type Result<T = ()> = std::result::Result<T, ParquetError>;

/// Groups of a schema inside each other. Nobody's data are so deep, and the reader's stack is deeper.
const MOST_LEVELS: usize = 128;
/// Structures and lists inside each other: the format has 8.
const MOST_NESTED: usize = 32;

/// Numbers of `FileMetaData.schema` and `SchemaElement.num_children` in the format's definition.
const SCHEMA: i64 = 2;
const NUM_CHILDREN: i64 = 5;

/// Types of the compact protocol.
mod kind {
    pub const STOP: u8 = 0;
    pub const TRUE: u8 = 1;
    pub const FALSE: u8 = 2;
    pub const BYTE: u8 = 3;
    pub const I16: u8 = 4;
    pub const I32: u8 = 5;
    pub const I64: u8 = 6;
    pub const DOUBLE: u8 = 7;
    pub const BINARY: u8 = 8;
    pub const LIST: u8 = 9;
    pub const SET: u8 = 10;
    pub const MAP: u8 = 11;
    pub const STRUCT: u8 = 12;
    pub const UUID: u8 = 13;
}

/// Checks the bytes of a footer without taking memory for them.
///
/// # Errors
/// [`ParquetError::General`] for counts and lengths that do not fit and for a schema that is too deep.
pub(super) fn check(footer: &[u8]) -> Result {
    let mut walk = Walk { rest: footer };
    walk.fields(&mut |walk, id, found| match (id, found) {
        (SCHEMA, kind::LIST) => walk.schema(),
        _ => walk.value(found, 0),
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
            number |= u64::from(byte & 0x7F) << shift;
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
    fn fields(&mut self, each: &mut dyn FnMut(&mut Self, i64, u8) -> Result) -> Result {
        let mut id = 0i64;
        loop {
            let head = self.byte()?;
            if head == kind::STOP {
                return Ok(());
            }
            id = match head >> 4 {
                0 => self.signed()?,
                step => id.saturating_add(i64::from(step)),
            };
            each(self, id, head & 15)?;
        }
    }

    /// Passes over the value of a field.
    fn value(&mut self, found: u8, depth: usize) -> Result {
        match found {
            // A field's type is its value.
            kind::TRUE | kind::FALSE => Ok(()),
            _ => self.element(found, depth),
        }
    }

    /// Passes over an element of a list, or the value of a field that takes bytes.
    fn element(&mut self, found: u8, depth: usize) -> Result {
        if depth > MOST_NESTED {
            return Err(fault(format!("it holds more than {MOST_NESTED} structures inside each other")));
        }
        match found {
            kind::TRUE | kind::FALSE | kind::BYTE => self.byte().map(drop),
            kind::I16 | kind::I32 | kind::I64 => self.number().map(drop),
            kind::DOUBLE => self.bytes(8).map(drop),
            kind::UUID => self.bytes(16).map(drop),
            kind::BINARY => {
                let length = self.number()?;
                self.bytes(length).map(drop)
            }
            kind::STRUCT => self.fields(&mut |walk, _, found| walk.value(found, depth + 1)),
            kind::LIST | kind::SET => {
                let (count, found) = self.list()?;
                (0..count).try_for_each(|_| self.element(found, depth + 1))
            }
            kind::MAP => {
                let count = self.number()?;
                self.fit(count)?;
                let kinds = if count > 0 { self.byte()? } else { 0 };
                (0..count).try_for_each(|_| {
                    self.element(kinds >> 4, depth + 1)?;
                    self.element(kinds & 15, depth + 1)
                })
            }
            other => Err(fault(format!("it holds a value of the unknown type {other}"))),
        }
    }

    /// Passes over the schema: its elements in depth-first order, each with the number of its children.
    fn schema(&mut self) -> Result {
        let (count, found) = self.list()?;
        // Children that are still to come, of each group around the element.
        let mut open: Vec<u64> = Vec::new();
        for _ in 0..count {
            if found != kind::STRUCT {
                self.element(found, 0)?;
                continue;
            }
            let mut children = 0;
            self.fields(&mut |walk, id, found| match (id, found) {
                (NUM_CHILDREN, kind::I32) => {
                    children = u64::try_from(walk.signed()?).unwrap_or(0);
                    Ok(())
                }
                _ => walk.value(found, 1),
            })?;
            if children > count {
                return Err(fault(format!(
                    "a group of its schema has {children} columns, and the schema {count} in all"
                )));
            }
            while open.pop_if(|left| *left == 0).is_some() {}
            if let Some(left) = open.last_mut() {
                *left -= 1;
            }
            if children > 0 {
                open.push(children);
            }
            if open.len() > MOST_LEVELS {
                return Err(fault(format!("its schema has more than {MOST_LEVELS} groups inside each other")));
            }
        }
        Ok(())
    }
}

fn fault(what: String) -> ParquetError {
    ParquetError::General(format!("the footer does not add up: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(mut number: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while number > 0x7F {
            bytes.push(number as u8 & 0x7F | 0x80);
            number >>= 7;
        }
        bytes.push(number as u8);
        bytes
    }

    /// A field with a number one above the last.
    fn next(found: u8, value: &[u8]) -> Vec<u8> {
        [&[1 << 4 | found], value].concat()
    }

    fn list(found: u8, count: u64, elements: &[u8]) -> Vec<u8> {
        [&[15 << 4 | found], number(count).as_slice(), elements].concat()
    }

    /// An element of a schema with `num_children` alone.
    fn group(children: u64) -> Vec<u8> {
        [vec![5 << 4 | kind::I32], number(children << 1), vec![kind::STOP]].concat()
    }

    /// A footer of version 1 with this schema and what follows it.
    fn footer(elements: u64, schema: &[u8], rest: &[u8]) -> Vec<u8> {
        let version = next(kind::I32, &number(2));
        [version, next(kind::LIST, &list(kind::STRUCT, elements, schema)), rest.to_vec(), vec![kind::STOP]].concat()
    }

    fn nested(levels: usize) -> Vec<u8> {
        footer(levels as u64 + 1, &[group(1).repeat(levels), group(0)].concat(), &[])
    }

    fn message(footer: &[u8]) -> String {
        check(footer).expect_err("a refusal").to_string()
    }

    #[test]
    fn counts_fit_into_the_bytes() {
        let schema = [group(1), group(0)].concat();
        let groups = |count| [next(kind::I64, &number(0)), next(kind::LIST, &list(kind::STRUCT, count, &[]))].concat();
        check(&footer(2, &schema, &groups(0))).expect("sound");
        assert!(
            message(&footer(2, &schema, &groups((1 << 31) - 1))).contains("counts 2147483647 elements in the 1 bytes")
        );
        assert!(message(&footer(1 << 40, &schema, &[])).contains("counts 1099511627776 elements"));
        assert!(message(&footer(2, &[group(1 << 30), group(0)].concat(), &[])).contains("has 1073741824 columns"));
        let text = |length| next(kind::BINARY, &number(length));
        assert!(message(&footer(2, &schema, &text(u64::MAX))).contains("holds 18446744073709551615 bytes in the 1"));
        assert!(message(&footer(2, &schema, &next(kind::I64, &[0xFF; 10]))).contains("more than 64 bits"));
        let map = [number(1 << 20), vec![kind::I32 << 4 | kind::I32]].concat();
        assert!(message(&footer(2, &schema, &next(kind::MAP, &map))).contains("counts 1048576 elements"));
        assert!(message(&footer(2, &schema, &next(14, &[]))).contains("unknown type 14"));
    }

    #[test]
    fn groups_are_not_deep() {
        check(&nested(MOST_LEVELS)).expect("sound");
        for levels in [MOST_LEVELS + 1, 1_000_000] {
            assert!(message(&nested(levels)).contains("more than 128 groups inside each other"), "{levels}");
        }
        // Beside each other they may be many.
        let wide = [group(3), [group(1), group(0)].concat().repeat(3)].concat();
        check(&footer(7, &wide, &[])).expect("sound");
        let lists = next(kind::LIST, &[list(kind::LIST, 1, &[]).repeat(100), vec![kind::BYTE]].concat());
        assert!(message(&footer(1, &group(0), &lists)).contains("more than 32 structures inside each other"));
    }

    #[test]
    fn cut_short_it_is_refused_at_any_place() {
        let whole = nested(3);
        check(&whole).expect("sound");
        for length in 0..whole.len() {
            assert!(check(&whole[..length]).is_err(), "{length} of {}", whole.len());
        }
    }
}
