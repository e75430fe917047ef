//! Text from outside made harmless: names and messages from datasets and models may hold characters that control a
//! terminal.

/// The text with U+FFFD for every control character, including line breaks and those that change the direction of text
/// (Unicode's Bidi_Control), which could make a name read as another.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if is_harmful(c) { '\u{FFFD}' } else { c }).collect()
}

/// As [`harmless`], but keeps line feeds.
pub fn harmless_lines(text: &str) -> String {
    text.chars().map(|c| if c != '\n' && is_harmful(c) { '\u{FFFD}' } else { c }).collect()
}

fn is_harmful(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{FFFE}' | '\u{FFFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_hide_or_turn_text_are_replaced() {
        let text = "a\u{0}b\u{1b}[31mc\n\u{202e}gnp.exe\u{2066}";
        assert_eq!(harmless(text), "a\u{FFFD}b\u{FFFD}[31mc\u{FFFD}\u{FFFD}gnp.exe\u{FFFD}");
        assert_eq!(harmless_lines(text), "a\u{FFFD}b\u{FFFD}[31mc\n\u{FFFD}gnp.exe\u{FFFD}");
        // Letters that are written from right to left are text like any other.
        assert_eq!(harmless("שלום <b>&\"'"), "שלום <b>&\"'");
    }
}
