//! What the controller's configuration says about plugins.

use serde::Deserialize;
use serde_json::Value;

use crate::api::{joined, read_strictly};

/// A plugin, and how it is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Definition {
    pub(super) door: Door,
    /// Steps of it count as done.
    pub(super) is_disabled: bool,
}

/// How a plugin is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Door {
    /// By a request.
    Http {
        url: String,
        /// Secrets of the controller's namespace whose entries are headers.
        headers_from: Vec<String>,
    },
    /// By a process for each call.
    Program(Program),
}

/// A program that is started for each call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: String,
    pub(super) args: Vec<String>,
    /// Of its file, hexadecimal; none: it is not compared.
    pub(super) sha256: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct Written {
    name: String,
    location: String,
    sha256: String,
    args: Vec<String>,
    disabled: bool,
    headers_from: Vec<WrittenHeaders>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WrittenHeaders {
    secret_ref: WrittenSecret,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSecret {
    name: String,
}

/// What is said of downloads, which Argo Rollouts makes of such locations.
const NO_DOWNLOAD: &str = "is a program to download, made for Argo Rollouts: plugins are not \
    downloaded here, and speak JSON. Give the address of a service that does, or put a program that \
    does into the image and give its file:// path";

/// The plugin of this name in a list of the configuration; `key` is where the list stands. Others
/// of the list may be wrong.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn find(key: &str, list: &str, name: &str) -> Result<Option<Definition>, String> {
    let listed: Vec<Value> = serde_saphyr::from_str(list)
        .map_err(|error| format!("{key} is not a YAML list of plugins: {error}"))?;
    let mut listed = listed.into_iter().enumerate();
    let Some((index, written)) = listed.find(|(_, written)| written["name"] == name) else {
        return Ok(None);
    };
    let field = format!("{key}[{index}]");
    let (written, problems) = read_strictly::<Written>(&field, written);
    if !problems.is_empty() {
        return Err(joined(&problems));
    }
    understood(written).map(Some)
}

fn understood(written: Written) -> Result<Definition, String> {
    if !is_name(&written.name) {
        let name = written.name;
        return Err(format!(
            "plugin repository ({name}) must be in the format of <namespace>/<name>"
        ));
    }
    let location = written.location.as_str();
    let door = if let Some(path) = location.strip_prefix("file://") {
        if !written.headers_from.is_empty() {
            return Err("headersFrom is for a location that is an http(s) address".to_owned());
        }
        Door::Program(Program {
            path: path.to_owned(),
            args: written.args,
            sha256: Some(written.sha256.to_ascii_lowercase()).filter(|sum| !sum.is_empty()),
        })
    } else if location.starts_with("http://") || location.starts_with("https://") {
        if !written.sha256.is_empty() || is_program(location) {
            return Err(format!("location `{location}` {NO_DOWNLOAD}"));
        }
        if !written.args.is_empty() {
            return Err("args are for a location that is a file://".to_owned());
        }
        let headers_from = written.headers_from.into_iter();
        Door::Http {
            url: location.to_owned(),
            headers_from: headers_from.map(|from| from.secret_ref.name).collect(),
        }
    } else {
        return Err(format!(
            "location `{location}` must begin with http://, https:// or file://"
        ));
    };
    Ok(Definition {
        door,
        is_disabled: written.disabled,
    })
}

/// # Source
/// `utils/plugin` of Argo Rollouts.
fn is_name(name: &str) -> bool {
    let is_made_of = |part: &str, more: &str| {
        let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || more.contains(letter);
        !part.is_empty() && part.chars().all(is_allowed)
    };
    name.split_once('/')
        .is_some_and(|(owner, plugin)| is_made_of(owner, "-") && is_made_of(plugin, "-_."))
}

/// Whether an address leads to a program for some machine.
fn is_program(location: &str) -> bool {
    let file = location.rsplit('/').next().unwrap_or_default();
    let is_for = |machine: &str| file.ends_with(machine);
    location.contains("/releases/download/")
        || ["-amd64", "-arm64", "_amd64", "_arm64", ".exe"]
            .into_iter()
            .any(is_for)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "
- name: org/http
  location: https://plugin.example.com/rollouts
  headersFrom: [{secretRef: {name: token}}]
- name: org/exec
  location: file:///opt/plugin
  sha256: ABC
  args: [--fast]
- {name: org/off, location: 'file:///x', disabled: true}
- {name: org/typo, locaton: 'file:///x', args: 5}
- {name: no-owner, location: 'file:///x'}
- {name: org/go, location: 'https://github.com/o/r/releases/download/v1/plugin'}
- {name: org/go2, location: 'https://example.com/plugin-linux-amd64'}
- {name: org/go3, location: 'https://example.com/plugin', sha256: abc}
- {name: org/s3, location: 's3://x'}
- {name: org/args, location: 'https://example.com', args: [a]}
- {name: org/headers, location: 'file:///x', headersFrom: [{secretRef: {name: token}}]}
";

    fn told(name: &str) -> String {
        match find("stepPlugins", LIST, name) {
            Ok(found) => format!("{found:?}"),
            Err(why) => why,
        }
    }

    #[test]
    fn each_plugin_is_read_by_itself() {
        let program = |path: &str, args: &[&str], sha256: Option<&str>| {
            Door::Program(Program {
                path: path.to_owned(),
                args: args.iter().map(|&arg| arg.to_owned()).collect(),
                sha256: sha256.map(str::to_owned),
            })
        };
        let http = Door::Http {
            url: "https://plugin.example.com/rollouts".to_owned(),
            headers_from: vec!["token".to_owned()],
        };
        for (name, door, is_disabled) in [
            ("org/http", http, false),
            (
                "org/exec",
                program("/opt/plugin", &["--fast"], Some("abc")),
                false,
            ),
            ("org/off", program("/x", &[], None), true),
        ] {
            let found = find("stepPlugins", LIST, name).unwrap();
            assert_eq!(found, Some(Definition { door, is_disabled }));
        }
        assert_eq!(find("stepPlugins", LIST, "org/none"), Ok(None));
    }

    #[test]
    fn what_is_wrong_with_a_plugin_is_said() {
        for (name, why) in [
            (
                "org/typo",
                "stepPlugins[3].args: Invalid value: invalid type: integer `5`, expected a sequence; stepPlugins[3].locaton: Invalid value: unknown field `locaton`",
            ),
            (
                "no-owner",
                "plugin repository (no-owner) must be in the format of <namespace>/<name>",
            ),
            ("org/go", "is a program to download, made for Argo Rollouts"),
            (
                "org/go2",
                "is a program to download, made for Argo Rollouts",
            ),
            (
                "org/go3",
                "is a program to download, made for Argo Rollouts",
            ),
            (
                "org/s3",
                "location `s3://x` must begin with http://, https:// or file://",
            ),
            ("org/args", "args are for a location that is a file://"),
            ("org/headers", "headersFrom is for a location"),
        ] {
            assert!(told(name).contains(why), "{name}: {}", told(name));
        }
        let broken = find("stepPlugins", "{", "org/x").unwrap_err();
        assert!(
            broken.starts_with("stepPlugins is not a YAML list of plugins: "),
            "{broken}"
        );
    }
}
