//! Footers made by hand.

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

/// A field so many numbers above the last.
fn field(step: u8, found: u8, value: &[u8]) -> Vec<u8> {
    [&[step << 4 | found], value].concat()
}

fn list(found: u8, count: u64, elements: &[u8]) -> Vec<u8> {
    [&[15 << 4 | found], number(count).as_slice(), elements].concat()
}

/// An element of a schema with a name and, of this type, a number of children.
fn group_of(found: u8, children: u64) -> Vec<u8> {
    let name = field(4, BINARY, &[number(1), b"g".to_vec()].concat());
    [name, field(1, found, &number(children << 1)), vec![STOP]].concat()
}

fn group(children: u64) -> Vec<u8> {
    group_of(I32, children)
}

/// A footer of version 1 with this schema and what follows it.
fn footer(elements: u64, schema: &[u8], rest: &[u8]) -> Vec<u8> {
    let version = field(1, I32, &number(2));
    [version, field(1, LIST, &list(STRUCT, elements, schema)), rest.to_vec(), vec![STOP]].concat()
}

/// One with a single column.
fn with(rest: &[u8]) -> Vec<u8> {
    footer(2, &[group(1), group(0)].concat(), rest)
}

fn nested(levels: usize) -> Vec<u8> {
    footer(levels as u64 + 1, &[group(1).repeat(levels), group(0)].concat(), &[])
}

fn message(footer: &[u8]) -> String {
    check(footer).expect_err("a refusal").to_string()
}

#[test]
fn counts_fit_into_the_bytes() {
    let groups = |count, groups: &[u8]| {
        with(&[field(1, I64, &number(0)), field(1, LIST, &list(STRUCT, count, groups))].concat())
    };
    check(&groups(0, &[])).expect("sound");
    check(&groups(3, &[STOP; 3])).expect("nothing that takes memory");
    assert!(message(&groups((1 << 31) - 1, &[])).contains("counts 2147483647 elements in the 1 bytes"));
    assert!(message(&groups(40_000, &[STOP; 40_000])).contains("40000 row groups, of which 32768 can be told apart"));
    assert!(message(&footer(1 << 40, &group(0), &[])).contains("counts 1099511627776 elements"));
    let columns = footer(3, &[group(2), group(1), group(0)].concat(), &[]);
    assert!(message(&columns).contains("more than the 3 columns of all"));
    assert!(message(&footer(2, &[group(1 << 31), group(0)].concat(), &[])).contains("no number of columns"));
    assert!(message(&footer(1, &[STOP], &[])).contains("has no name"));
    let text = |length| with(&field(4, BINARY, &number(length)));
    assert!(message(&text(u64::MAX)).contains("holds 18446744073709551615 bytes in the 1"));
    for digits in [[0xFF; 10], [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 2]] {
        assert!(message(&with(&field(1, I64, &digits))).contains("more than 64 bits"));
    }
    let map = [number(1 << 20), vec![I32 << 4 | I32]].concat();
    assert!(message(&with(&field(9, MAP, &map))).contains("counts 1048576 elements"));
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
    let lists = field(10, LIST, &[list(LIST, 1, &[]).repeat(100), vec![BYTE]].concat());
    assert!(message(&with(&lists)).contains("more than 32 structures inside each other"));
}

/// The reader goes by numbers alone: it would read a list of row groups where a number is declared.
#[test]
fn known_fields_have_their_types() {
    let rows = field(1, I64, &number(0));
    let hidden = field(1, I64, &[0xFC, 0xFF, 0xFF, 0xFF, 0xFF, 0x07]);
    assert!(message(&with(&[rows.clone(), hidden].concat())).contains("has the type 6, not its own"));
    let deep = [group_of(I64, 1).repeat(1000), group(0)].concat();
    assert!(message(&footer(1001, &deep, &[])).contains("has the type 6, not its own"));
    assert!(message(&[field(1, BINARY, &[number(1), vec![0]].concat()), vec![STOP]].concat()).contains("type 8"));
    // A column in a row group.
    let statistics = field(
        3,
        STRUCT,
        &[field(12, STRUCT, &[field(3, BINARY, &number(0)), vec![STOP]].concat()), vec![STOP]].concat(),
    );
    let column = [statistics, vec![STOP]].concat();
    let row_group = [field(1, LIST, &list(STRUCT, 1, &column)), vec![STOP]].concat();
    let groups = [rows, field(1, LIST, &list(STRUCT, 1, &row_group))].concat();
    assert!(message(&with(&groups)).contains("has the type 8, not its own"));
    // Numbers of fields that the reader would cut down to 16 bits, and what it passes over in another way.
    let far = [&[I32], number(65_538 << 1).as_slice(), &number(0)].concat();
    assert!(message(&with(&far)).contains("more than 16 bits"));
    assert!(message(&with(&field(15, LIST, &list(TRUE, 1, &[TRUE])))).contains("which no footer has"));
    // Unknown fields may be anything else, as FlatBuffers behind a large number are.
    check(&with(&[&[BINARY], number(32_767 << 1).as_slice(), &number(0)].concat())).expect("sound");
}

#[test]
fn cut_short_it_is_refused_at_any_place() {
    let whole = nested(3);
    check(&whole).expect("sound");
    for length in 0..whole.len() {
        assert!(check(&whole[..length]).is_err(), "{length} of {}", whole.len());
    }
}
