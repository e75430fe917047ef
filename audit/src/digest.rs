//! Digests of images as text.

use super::observer::ShortDigest;

/// 32 digits in lower case.
pub(super) fn hex(digest: &ShortDigest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The digest that 32 hexadecimal digits stand for.
pub(super) fn parse(text: &str) -> Option<ShortDigest> {
    // A sign would pass as part of a number.
    let digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let digest = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0xab, 0xcd, 0xef, 0xf0, 0xff];
        assert_eq!(hex(&digest), "000102030405060708090aabcdeff0ff");
        assert_eq!(parse("000102030405060708090AABCDEFF0FF"), Some(digest));
        for text in ["", "+00102030405060708090aabcdeff0ff", "000102030405060708090aabcdeff0f", "é"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
