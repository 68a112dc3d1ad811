//! Literals: from the text as written to the value.

use super::Value;

/// The value of a number as written.
pub(super) fn number(text: &str) -> Result<Value, String> {
    let plain = text.replace('_', "").to_ascii_lowercase();
    let based = |digits: &str, radix: u32, what: &str| {
        i64::from_str_radix(digits, radix)
            .map(Value::Int)
            .map_err(|error| format!("invalid {what} literal: {text}: {error}"))
    };
    if let Some(digits) = plain.strip_prefix("0x") {
        based(digits, 16, "hex")
    } else if plain.contains(['.', 'e']) {
        match plain.parse::<f64>() {
            Ok(float) if float.is_finite() => Ok(Value::Float(float)),
            Ok(_) => Err(format!("invalid float literal: {text}: value out of range")),
            Err(error) => Err(format!("invalid float literal: {text}: {error}")),
        }
    } else if let Some(digits) = plain.strip_prefix("0b") {
        based(digits, 2, "binary")
    } else if let Some(digits) = plain.strip_prefix("0o") {
        based(digits, 8, "octal")
    } else {
        based(&plain, 10, "integer")
    }
}

/// The text of a string as written, quotes included.
pub(super) fn string(text: &str) -> Result<String, String> {
    if let Some(raw) = text.strip_prefix('`') {
        let raw = raw.strip_suffix('`').unwrap_or(raw);
        return Ok(raw.replace("``", "`"));
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = Escapes::of(text);
    while let Some(next) = rest.next()? {
        match next {
            Piece::Char(c) => out.push(c),
            Piece::Byte(byte) => out.push(char::from(byte)),
        }
    }
    Ok(out)
}

/// The bytes of a `b"…"` as written, prefix and quotes included.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = Escapes::of(&text[1..]);
    while let Some(next) = rest.next()? {
        match next {
            Piece::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Piece::Byte(byte) => out.push(byte),
        }
    }
    Ok(out)
}

enum Piece {
    Char(char),
    /// `\x41` and `\101`: a code point in a string, a byte in bytes.
    Byte(u8),
}

struct Escapes<'s> {
    rest: &'s str,
    quote: char,
}

impl<'s> Escapes<'s> {
    fn of(quoted: &'s str) -> Self {
        let quote = quoted.chars().next().unwrap_or('"');
        let rest = quoted.strip_prefix(quote).unwrap_or(quoted);
        Self {
            rest: rest.strip_suffix(quote).unwrap_or(rest),
            quote,
        }
    }

    fn next(&mut self) -> Result<Option<Piece>, String> {
        let Some(c) = self.take() else {
            return Ok(None);
        };
        match c {
            '\\' => self.escape().map(Some),
            '\r' => {
                self.rest = self.rest.strip_prefix('\n').unwrap_or(self.rest);
                Ok(Some(Piece::Char('\n')))
            }
            plain => Ok(Some(Piece::Char(plain))),
        }
    }

    fn take(&mut self) -> Option<char> {
        let mut chars = self.rest.chars();
        let c = chars.next();
        self.rest = chars.as_str();
        c
    }

    fn escape(&mut self) -> Result<Piece, String> {
        let invalid = || "invalid char escape".to_owned();
        let c = self.take().ok_or_else(invalid)?;
        let plain = match c {
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\x0b',
            '\\' => '\\',
            quote if quote == self.quote => quote,
            'x' => return self.byte(2, 16),
            '0'..='3' => {
                let digits = format!("{c}{}", self.digits(2)?);
                let byte = u8::from_str_radix(&digits, 8).map_err(|_| invalid())?;
                return Ok(Piece::Byte(byte));
            }
            'u' if self.rest.starts_with('{') => self.braced()?,
            'u' => self.code_point(4)?,
            'U' => self.code_point(8)?,
            _ => return Err(invalid()),
        };
        Ok(Piece::Char(plain))
    }

    fn digits(&mut self, count: usize) -> Result<&'s str, String> {
        let found = self
            .rest
            .get(..count)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = found.ok_or_else(|| "invalid char escape".to_owned())?;
        self.rest = &self.rest[count..];
        Ok(digits)
    }

    fn byte(&mut self, count: usize, radix: u32) -> Result<Piece, String> {
        let digits = self.digits(count)?;
        u8::from_str_radix(digits, radix)
            .map(Piece::Byte)
            .map_err(|_| "invalid char escape".to_owned())
    }

    fn code_point(&mut self, count: usize) -> Result<char, String> {
        scalar(self.digits(count)?)
    }

    /// `\u{1F600}`: one to six hex digits.
    fn braced(&mut self) -> Result<char, String> {
        let end = self.rest.find('}').filter(|end| (2..=7).contains(end));
        let end = end.ok_or_else(|| "invalid char escape".to_owned())?;
        let digits = &self.rest[1..end];
        self.rest = &self.rest[end + 1..];
        scalar(digits)
    }
}

fn scalar(hex: &str) -> Result<char, String> {
    u32::from_str_radix(hex, 16)
        .ok()
        .and_then(char::from_u32)
        .ok_or_else(|| "invalid char escape".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_unquoted_and_unescaped() {
        let cases = [
            (r#""a\nb""#, Some("a\nb")),
            (r"'it\'s'", Some("it's")),
            (r#"'a\"b'"#, None),
            (r#""\u00e9\x41\101\u{1F600}""#, Some("éAA😀")),
            (r#""\u{}""#, None),
            (r#""\u{1234567}""#, None),
            (r#""\400""#, None),
            (r#""\q""#, None),
            (r#""\xé""#, None),
            (r"`raw \n ``tick```", Some(r"raw \n `tick`")),
            ("\"a\r\nb\"", Some("a\nb")),
            ("\"\"", Some("")),
        ];
        for (text, expected) in cases {
            assert_eq!(string(text).ok().as_deref(), expected, "{text}");
        }
        assert_eq!(bytes(r#"b"\xff\377é""#).unwrap(), [0xff, 0xff, 0xc3, 0xa9]);
    }

    #[test]
    fn numbers_are_read_in_every_base() {
        let cases = [
            ("42", Some(Value::Int(42))),
            ("007", Some(Value::Int(7))),
            ("1_000_000", Some(Value::Int(1_000_000))),
            ("0x2A", Some(Value::Int(42))),
            ("0xE", Some(Value::Int(14))),
            ("0o52", Some(Value::Int(42))),
            ("0b101010", Some(Value::Int(42))),
            (".5", Some(Value::Float(0.5))),
            ("1e3", Some(Value::Float(1000.0))),
            ("9223372036854775808", None),
            ("1e999", None),
            ("0x", None),
            ("0x1.8", None),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text).ok(), expected, "{text}");
        }
    }
}
