//! Values of Secrets, which are not in the cluster here.

use std::env;
use std::fs;
use std::path::PathBuf;

use super::Error;
use crate::analysis::{Prepared, Redacted, SecretKey, Secrets};
use crate::cli::Output;

/// `NAME/KEY=env:VAR` or `NAME/KEY=file:PATH`.
#[derive(Debug, Clone)]
pub(super) struct SecretFlag {
    key: SecretKey,
    from: From,
}

#[derive(Debug, Clone)]
enum From {
    Variable(String),
    File(PathBuf),
}

pub(super) fn parse(text: &str) -> Result<SecretFlag, String> {
    let expected = || "expected NAME/KEY=env:VAR or NAME/KEY=file:PATH".to_owned();
    let (key, from) = text.split_once('=').ok_or_else(expected)?;
    let (name, key) = key.split_once('/').ok_or_else(expected)?;
    let from = match from.split_once(':') {
        Some(("env", variable)) => From::Variable(variable.to_owned()),
        Some(("file", path)) => From::File(path.into()),
        _ => return Err(expected()),
    };
    let key = SecretKey {
        name: name.to_owned(),
        key: key.to_owned(),
    };
    Ok(SecretFlag { key, from })
}

/// The Secrets that the metrics use, all of them.
pub(super) fn read(
    flags: &[SecretFlag],
    prepared: &Prepared,
    output: &mut Output,
) -> Result<Secrets, Error> {
    let needed = prepared.all_secrets();
    let (mut secrets, mut problems) = (Secrets::default(), Vec::new());
    for flag in flags.iter().filter(|flag| !needed.contains_key(&flag.key)) {
        output.talk(format_args!(
            "warning: --secret: no metric uses {}",
            flag.key
        ));
    }
    for (key, metric) in needed {
        let Some(flag) = flags.iter().rev().find(|flag| flag.key == *key) else {
            let SecretKey { name, key: inner } = key;
            problems.push(format!(
                "metric `{metric}` uses {key}: give `--secret {name}/{inner}=env:VAR` or \
                 `--secret {name}/{inner}=file:PATH`"
            ));
            continue;
        };
        match flag.from.value() {
            Ok(value) => secrets.insert(key.clone(), Ok(Redacted::new(value))),
            Err(why) => problems.push(format!("{key}: {why}")),
        }
    }
    if problems.is_empty() {
        Ok(secrets)
    } else {
        Err(Error::Secrets(problems))
    }
}

impl From {
    fn value(&self) -> Result<String, String> {
        match self {
            Self::Variable(name) => {
                let value = env::var_os(name).ok_or(format!("the variable `{name}` is not set"))?;
                value
                    .into_string()
                    .map_err(|_| format!("the variable `{name}` is not text"))
            }
            Self::File(path) => {
                let mut value = fs::read_to_string(path)
                    .map_err(|error| format!("cannot read `{}`: {error}", path.display()))?;
                // An editor ends a file with a line break; no header can have one.
                if value.ends_with('\n') {
                    value.truncate(value.len() - 1);
                }
                if value.ends_with('\r') {
                    value.truncate(value.len() - 1);
                }
                Ok(value)
            }
        }
    }
}
