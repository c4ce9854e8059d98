//! Labels as they are written on the command line.

use std::collections::BTreeMap;

use anyhow::bail;
use titan_api::limits;

/// Reads `name=value` pairs.
///
/// # Errors
/// Says which label is wrong, and how.
pub(super) fn parse(pairs: &[String]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for pair in pairs.iter().map(|p| p.trim()).filter(|p| !p.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            bail!("the label `{pair}` has no value: labels are written NAME=VALUE");
        };
        if name.is_empty() || name.len() > limits::LABEL_BYTES || value.len() > limits::LABEL_BYTES {
            bail!(
                "the label `{pair}` is too long or has no name: both parts may have up to {} bytes",
                limits::LABEL_BYTES
            );
        }
        if let Some(before) = labels.insert(name.to_owned(), value.to_owned()).filter(|b| b != value) {
            bail!("the label `{name}` is given twice, with the values `{before}` and `{value}`");
        }
    }
    if labels.len() > limits::LABELS {
        bail!("{} labels are given and an agent may have {}", labels.len(), limits::LABELS);
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(pairs: &[&str]) -> anyhow::Result<BTreeMap<String, String>> {
        parse(&pairs.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_value_may_hold_an_equals_sign_and_an_empty_list_is_no_label() {
        assert_eq!(parse_all(&["a=b=c", ""]).unwrap(), BTreeMap::from([("a".into(), "b=c".into())]));
    }

    #[test]
    fn labels_that_make_no_sense_are_named() {
        assert!(parse_all(&["gpu"]).unwrap_err().to_string().contains("`gpu` has no value"));
        assert!(parse_all(&["=x"]).unwrap_err().to_string().contains("no name"));
        assert!(parse_all(&["a=1", "a=2"]).unwrap_err().to_string().contains("given twice"));
    }
}
