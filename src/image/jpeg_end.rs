//! Tells a whole JPEG from one that was cut off.

/// True when the file's last scan ends with an end-of-image marker.
///
/// The decoder is lenient: it fills what is missing with grey and reports success, so half a picture would get a
/// confident score. Pillow refuses such files; so do we. Only the marker is looked for: noise inside the compressed
/// data cannot be told from content, there or here.
pub fn has_end_marker(bytes: &[u8]) -> bool {
    // Within compressed data 0xFF is always followed by 0x00 or a restart marker, so this pair is the real end. The
    // search begins after the first scan header, because an embedded thumbnail has an end marker of its own.
    // Another image's start before this one's end means that something was appended to a part of a file.
    first_scan(bytes).is_some_and(ends_before_another_begins)
}

fn ends_before_another_begins(scan: &[u8]) -> bool {
    let mut rest = scan;
    while let Some(at) = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF)) {
        match rest[at + 1] {
            0xD9 => return true,
            0xD8 => return false,
            // Restart markers and TEM stand alone.
            0x01 | 0xD0..=0xD7 => rest = &rest[at + 2..],
            // Tables and headers of further scans have a length, and may hold any bytes.
            _ => {
                let Some(&[high, low]) = rest.get(at + 2..at + 4) else { return false };
                let Some(behind) = rest.get(at + 2 + usize::from(u16::from_be_bytes([high, low]))..) else {
                    return false;
                };
                rest = behind;
            }
        }
    }
    false
}

/// The bytes after the header of the first scan, or `None` when the header does not get that far.
fn first_scan(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.get(2..)?;
    loop {
        // A marker may be preceded by any number of fill bytes; garbage between segments is skipped as decoders do.
        let start = rest.windows(2).position(|pair| pair[0] == 0xFF && !matches!(pair[1], 0x00 | 0xFF))?;
        let marker = *rest.get(start + 1)?;
        rest = rest.get(start + 2..)?;
        // TEM, restart markers and a repeated start of image stand alone, without a length.
        if matches!(marker, 0x01 | 0xD0..=0xD8) {
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
        rest = rest.get(length..)?;
        if marker == 0xDA {
            return Some(rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::has_end_marker;

    /// Start of image, an application segment that holds a thumbnail's end marker, a scan header, data.
    const HEADER: &[u8] = &[0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD9, 1, 2, 0xFF, 0xDA, 0, 4, 9, 9, 7, 0xFF, 0x00, 7];

    #[test]
    fn whole_with_trailing_bytes() {
        let mut bytes = HEADER.to_vec();
        bytes.extend([0xFF, 0xD9]);
        assert!(has_end_marker(&bytes));
        bytes.extend([0, 0, 0]);
        assert!(has_end_marker(&bytes));
    }

    #[test]
    fn a_whole_image_behind_a_part_of_one_does_not_end_it() {
        let whole = [HEADER, &[0xFF, 0xD9]].concat();
        assert!(!has_end_marker(&[HEADER, &whole].concat()));
        assert!(has_end_marker(&[&whole[..], &whole].concat()), "what follows a whole image does not count");
        // A second scan whose header holds the bytes of a start marker.
        let second = [HEADER, &[0xFF, 0xDA, 0, 4, 0xFF, 0xD8, 5, 0xFF, 0xD0, 6, 0xFF, 0xD9]].concat();
        assert!(has_end_marker(&second));
    }

    #[test]
    fn cut_anywhere_is_seen() {
        for length in 0..=HEADER.len() {
            assert!(!has_end_marker(&HEADER[..length]), "cut at {length}");
        }
    }
}
