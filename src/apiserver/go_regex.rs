//! Regular expressions as Go writes them, which CustomResourceDefinitions and their rules use.
//!
//! The `regex` crate is of the same family, and differs in a few places: there `\d`, `\w`, `\s` and
//! `\b` know all letters of the world, sets may stand in sets, and a brace must count something.

use regex::Regex;

/// Compiles an expression.
///
/// # Errors
/// What is wrong with it.
pub(super) fn compile(written: &str) -> Result<Regex, String> {
    Regex::new(&translated(written)).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "expression is too large".to_owned(),
        error => {
            let told = error.to_string();
            let last = told.lines().last().unwrap_or_default();
            let problem = last.trim_start_matches("error: ");
            format!("error parsing regexp: {problem}: `{written}`")
        }
    })
}

/// The same expression for the `regex` crate.
fn translated(written: &str) -> String {
    let mut translation = Translation {
        rest: written,
        out: String::with_capacity(written.len()),
    };
    while let Some(c) = translation.next() {
        match c {
            '\\' => translation.escape(false),
            '[' => translation.set(),
            '{' if !counts(translation.rest) => translation.out.push_str("\\{"),
            other => translation.out.push(other),
        }
    }
    translation.out
}

struct Translation<'a> {
    rest: &'a str,
    out: String,
}

impl Translation<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    /// What follows a backslash.
    fn escape(&mut self, in_set: bool) {
        let Some(c) = self.next() else {
            self.out.push('\\');
            return;
        };
        let set = |inside: &str, negated: bool| match (in_set, negated) {
            (true, false) => inside.to_owned(),
            (_, negated) => format!("[{}{inside}]", if negated { "^" } else { "" }),
        };
        let text = match c {
            'd' => set("0-9", false),
            'D' => set("0-9", true),
            'w' => set("0-9A-Za-z_", false),
            'W' => set("0-9A-Za-z_", true),
            's' => set(r"\t\n\f\r ", false),
            'S' => set(r"\t\n\f\r ", true),
            'b' if !in_set => r"(?-u:\b)".to_owned(),
            'B' if !in_set => r"(?-u:\B)".to_owned(),
            // There these are the edges of words.
            '<' | '>' => c.to_string(),
            'Q' => {
                let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                self.rest = rest;
                regex::escape(quoted)
            }
            'p' | 'P' | 'x' if self.rest.starts_with('{') => {
                let end = self.rest.find('}').map_or(self.rest.len(), |end| end + 1);
                let (named, rest) = self.rest.split_at(end);
                self.rest = rest;
                format!("\\{c}{named}")
            }
            other => format!("\\{other}"),
        };
        self.out.push_str(&text);
    }

    /// A set in brackets, after its first.
    fn set(&mut self) {
        self.out.push('[');
        if let Some(rest) = self.rest.strip_prefix('^') {
            self.out.push('^');
            self.rest = rest;
        }
        // A bracket that closes at once stands for itself.
        if let Some(rest) = self.rest.strip_prefix(']') {
            self.out.push_str("\\]");
            self.rest = rest;
        }
        while let Some(c) = self.next() {
            match c {
                ']' => {
                    self.out.push(']');
                    return;
                }
                '\\' => self.escape(true),
                '[' if self.rest.starts_with(':') => self.class(),
                '[' | '&' | '~' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                '-' if self.rest.starts_with('-') => self.out.push_str("\\-"),
                other => self.out.push(other),
            }
        }
    }

    /// A named class such as `[:alpha:]`, after its first bracket.
    fn class(&mut self) {
        self.out.push('[');
        let end = self.rest.find(":]").map_or(0, |end| end + 2);
        let (name, rest) = self.rest.split_at(end);
        self.out.push_str(name);
        self.rest = rest;
    }
}

/// Whether what follows a brace makes it a repetition: `2}`, `2,}`, `2,5}`.
fn counts(rest: &str) -> bool {
    let Some((inside, _)) = rest.split_once('}') else {
        return false;
    };
    let (least, most) = inside.split_once(',').unwrap_or((inside, ""));
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
    !least.is_empty() && digits(least) && digits(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_mean_what_they_mean_in_go() {
        for (written, matched, not) in [
            (r"^\d+$", "12", "١٢"),
            (r"^\w+$", "a_1", "é"),
            (r"^[\w.-]+$", "a.b-c", "a b"),
            (r"^[^\s/]+$", "abc", "a b"),
            (r"^[\S]+$", "abc", "a b"),
            (r"^[[a]+$", "[a", "b"),
            (r"^[]a]+$", "]a", "b"),
            (r"^[^]a]+$", "b", "]"),
            (r"^[a&&b]+$", "&ab", "c"),
            (r"^[[:alpha:]-]+$", "a-b", "1"),
            (r"^a{,2}$", "a{,2}", "aa"),
            (r"^\$\{[a-z]+}$", "${x}", "x"),
            (r"^{a}$", "{a}", "a"),
            (r"^a{2,3}$", "aaa", "a"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^<\<$", "<<", "<"),
            (r"\bfoo\b", "a foo", "afoo"),
            (r"^[!-/:-@\[-`{-~]+$", "!~[`{", "a"),
            (r"^\p{Lu}\z", "É", "é"),
        ] {
            let compiled = compile(written).unwrap();
            assert!(compiled.is_match(matched), "{written} on {matched}");
            assert!(!compiled.is_match(not), "{written} on {not}");
        }
    }

    #[test]
    fn a_bad_expression_is_told() {
        for written in ["(", "[a", r"\8", "(?<!a)b"] {
            let problem = compile(written).unwrap_err();
            assert!(problem.contains(written), "{problem}");
        }
    }
}
