//! PEM (RFC 7468), as far as keys need it.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use base64::{Engine, engine::general_purpose::STANDARD};

use super::KeyError;

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// The contents of all blocks, which must be private keys in PKCS#8. A text whose line ends were written as `\n`, as
/// some tools that keep environment variables do, is understood too.
pub(super) fn private_keys(text: &str) -> Result<Vec<Vec<u8>>, KeyError> {
    let text = if text.trim().contains('\n') { text.to_owned() } else { text.replace("\\n", "\n") };
    let mut lines = text.lines().map(str::trim);
    let mut blocks = Vec::new();
    while let Some(line) = lines.next() {
        let Some(label) = line.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(DASHES)) else { continue };
        let number = blocks.len() + 1;
        if label != "PRIVATE KEY" {
            return Err(KeyError::Label { number, label: label.to_owned() });
        }
        let end = format!("-----END {label}-----");
        let mut base64 = String::new();
        loop {
            match lines.next() {
                Some(line) if line == end => break,
                Some(line) => base64.push_str(line),
                None => return Err(KeyError::Damaged(number)),
            }
        }
        blocks.push(STANDARD.decode(base64).map_err(|_| KeyError::Damaged(number))?);
    }
    if blocks.is_empty() { Err(KeyError::Empty) } else { Ok(blocks) }
}

/// A public key as a block of PEM.
pub(super) fn public_key<'a>(key: &impl AsDer<PublicKeyX509Der<'a>>) -> Option<String> {
    Some(block("PUBLIC KEY", key.as_der().ok()?.as_ref()))
}

/// A block of PEM.
pub(crate) fn block(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = format!("{BEGIN}{label}{DASHES}\n");
    for line in base64.as_bytes().chunks(64) {
        text.extend(line.iter().map(|b| char::from(*b)));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}
