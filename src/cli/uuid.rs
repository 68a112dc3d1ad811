//! Random UUIDs.

use ring::error::Unspecified;
use ring::rand::{SecureRandom as _, SystemRandom};

/// A UUID of version 4, variant 1 (RFC 9562).
///
/// # Errors
/// The operating system has no randomness.
pub(super) fn random() -> Result<String, Unspecified> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes)?;
    let mut number = u128::from_be_bytes(bytes);
    number = number & !(0xf << 76) | 0x4 << 76;
    number = number & !(0x3 << 62) | 0x2 << 62;
    let part = |shift: u32, mask: u128| number >> shift & mask;
    Ok(format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        part(96, 0xffff_ffff),
        part(80, 0xffff),
        part(64, 0xffff),
        part(48, 0xffff),
        part(0, 0xffff_ffff_ffff),
    ))
}
