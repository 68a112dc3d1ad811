//! A short hash that is the same on every machine.

/// FNV-1a with 32 bits, as Kubernetes uses for template hashes.
pub(super) fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// Kubernetes' alphabet: no vowels, so that no word comes out.
const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A number as a word, a letter for each digit, as template hashes are written.
pub(super) fn word(number: u32) -> String {
    let digits = number.to_string();
    digits
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
        .collect()
}

/// A number as five letters, as generated names end.
pub(super) fn letters(number: u32) -> String {
    let mut left = usize::try_from(number).unwrap_or_default();
    std::iter::repeat_with(|| {
        let letter = char::from(ALPHABET[left % ALPHABET.len()]);
        left /= ALPHABET.len();
        letter
    })
    .take(5)
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a(b""), 0x811c_9dc5);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }

    #[test]
    fn each_digit_becomes_a_letter() {
        // Digits are ASCII: '0' is 48, and 48 % 27 is the alphabet's letter 21.
        assert_eq!(word(0), "4");
        assert_eq!(word(1_234_567_890).len(), 10);
    }
}
