//! Names of what is often found where an image should be.

/// What bytes that are no readable image are, where their beginning tells.
pub(super) fn name_of(bytes: &[u8]) -> Option<&'static str> {
    Some(match bytes {
        [0xFF, 0x0A, ..] | [0, 0, 0, 0x0C, b'J', b'X', b'L', b' ', ..] => "JPEG XL",
        [0, 0, 0, 0x0C, b'j', b'P', b' ', b' ', ..] | [0xFF, 0x4F, 0xFF, 0x51, ..] => "JPEG 2000",
        [_, _, _, _, b'f', b't', b'y', b'p', brand @ ..] => match brand {
            [b'a', b'v', b'i', b'f' | b's', ..] => "AVIF",
            [b'h', b'e', b'i' | b'v', _, ..] | [b'm', b'i', b'f' | b's', _, ..] => "HEIC",
            _ => "an MP4 or QuickTime file",
        },
        [b'8', b'B', b'P', b'S', ..] => "Photoshop (PSD)",
        [0x76, 0x2F, 0x31, 0x01, ..] => "OpenEXR",
        [b'#', b'?', b'R', ..] => "Radiance HDR",
        [b'D', b'D', b'S', b' ', ..] => "DirectDraw Surface (DDS)",
        [0, 0, 1, 0, ..] => "an icon (ICO)",
        [b'P', b'1'..=b'7', white, ..] if white.is_ascii_whitespace() => "Netpbm (PBM, PGM, PPM or PAM)",
        [b'q', b'o', b'i', b'f', ..] => "QOI",
        [b'I', b'I', b'R', b'O', ..] | [b'F', b'U', b'J', b'I', b'F', b'I', b'L', b'M', ..] => "a camera's raw file",
        [b'%', b'P', b'D', b'F', ..] => "a PDF document",
        [b'P', b'K', 3 | 5, 4 | 6, ..] => "a ZIP archive",
        [0x1F, 0x8B, ..] => "gzip-compressed data",
        [0x28, 0xB5, 0x2F, 0xFD, ..] => "Zstandard-compressed data",
        [b'B', b'Z', b'h', ..] => "bzip2-compressed data",
        [b'P', b'A', b'R', b'1', ..] => "a Parquet file",
        [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => "a NumPy array",
        _ => return text_name(bytes),
    })
}

fn text_name(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(512)];
    let text = start.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(start).trim_ascii_start().to_ascii_lowercase();
    let has = |word: &[u8]| text.windows(word.len()).any(|window| window == word);
    if text.starts_with(b"version https://git-lfs") {
        Some("a Git LFS pointer: the file itself was not downloaded")
    } else if text.starts_with(b"<!doctype html") || text.starts_with(b"<html") {
        Some("an HTML page")
    } else if text.starts_with(b"<svg") || (text.starts_with(b"<?xml") && has(b"<svg")) {
        Some("SVG")
    } else if text.starts_with(b"<?xml") {
        Some("XML")
    } else if text.starts_with(b"{") || text.starts_with(b"[{") {
        Some("JSON")
    } else if text.starts_with(b"data:image/") || text.starts_with(b"http://") || text.starts_with(b"https://") {
        Some("an address, not the image that it stands for")
    } else if text.starts_with(b"/9j/") || text.starts_with(b"ivborw0kggo") {
        Some("an image as base64 text; decode it first")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::name_of;

    #[test]
    fn beginnings_tell_formats_apart() {
        for (start, name) in [
            (&b"\0\0\0\x18ftypheic\0\0"[..], "HEIC"),
            (b"\0\0\0\x1cftypavif", "AVIF"),
            (b"\0\0\0\x20ftypisom", "an MP4 or QuickTime file"),
            (b"\xFF\x0A\xFA\x1F", "JPEG XL"),
            (b"\0\0\0\x0CjP  \r\n", "JPEG 2000"),
            (b"\xEF\xBB\xBF <!DOCTYPE html><html>", "an HTML page"),
            (b"<?xml version=\"1.0\"?>\n<svg xmlns", "SVG"),
            (b"<?xml version=\"1.0\"?><Error>", "XML"),
            (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer: the file itself was not downloaded"),
            (b"%PDF-1.7", "a PDF document"),
            (b"P6\n32 32", "Netpbm (PBM, PGM, PPM or PAM)"),
        ] {
            assert_eq!(name_of(start), Some(name), "{start:?}");
        }
        assert_eq!(name_of(b"not an image"), None);
        assert_eq!(name_of(b""), None);
    }
}
