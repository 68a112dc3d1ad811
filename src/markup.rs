//! Text that stands in XML and HTML.

/// Text as it may stand in XML 1.0 and in HTML, between quotes of either kind, too. What XML cannot
/// hold even so is replaced.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // In an attribute they would be read as spaces.
            '\n' => safe.push_str("&#10;"),
            '\r' => safe.push_str("&#13;"),
            '\t' => safe.push_str("&#9;"),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn what_has_a_meaning_is_escaped_and_what_cannot_stand_there_replaced() {
        assert_eq!(
            escaped("a<b & \"c\" 'd'\n\u{1}é"),
            "a&lt;b &amp; &quot;c&quot; &#39;d&#39;&#10;\u{fffd}é"
        );
    }
}
