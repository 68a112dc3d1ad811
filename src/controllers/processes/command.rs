//! From a Job to the command of a process. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar};
use tokio::process::Command;

/// The command of a Job's only container.
///
/// # Errors
/// What the Job has that a process cannot be.
pub(super) fn of(job: &Job) -> Result<Command, String> {
    let pod = job
        .spec
        .as_ref()
        .and_then(|spec| spec.template.spec.as_ref());
    let pod = pod.ok_or("the Job has no pod template")?;
    if pod
        .init_containers
        .as_ref()
        .is_some_and(|it| !it.is_empty())
    {
        return Err("a Job with init containers cannot be run as a process".to_owned());
    }
    let [container] = pod.containers.as_slice() else {
        return Err(format!(
            "only a Job with one container can be run as a process, this one has {}",
            pod.containers.len()
        ));
    };
    of_container(container)
}

fn of_container(container: &Container) -> Result<Command, String> {
    let name = &container.name;
    let environment = environment(container)?;
    let filled = |texts: &Option<Vec<String>>| -> Vec<String> {
        let texts = texts.iter().flatten();
        texts.map(|text| filled_in(text, &environment)).collect()
    };
    let mut words = filled(&container.command).into_iter();
    let Some(program) = words.next() else {
        return Err(format!(
            "container `{name}` has no `command`: what its image runs is not known here"
        ));
    };
    let mut command = Command::new(program);
    command.args(words).args(filled(&container.args));
    command.envs(&environment);
    if let Some(folder) = &container.working_dir {
        command.current_dir(folder);
    }
    Ok(command)
}

/// The variables that are written as values; later ones may refer to earlier ones.
fn environment(container: &Container) -> Result<BTreeMap<String, String>, String> {
    let mut known = BTreeMap::new();
    if container.env_from.as_ref().is_some_and(|it| !it.is_empty()) {
        return Err(format!(
            "container `{}` has `envFrom`, which a process cannot have",
            container.name
        ));
    }
    for EnvVar {
        name,
        value,
        value_from,
    } in container.env.iter().flatten()
    {
        if value_from.is_some() {
            return Err(format!(
                "variable `{name}` of container `{}` has `valueFrom`, which a process cannot have",
                container.name
            ));
        }
        let value = filled_in(value.as_deref().unwrap_or_default(), &known);
        known.insert(name.clone(), value);
    }
    Ok(known)
}

/// `$(NAME)` becomes the variable's value, `$$` stands for `$`; what is not known stays.
///
/// # Source
/// `Expand` in `third_party/forked/golang/expansion` of Kubernetes.
fn filled_in(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        filled.push_str(before);
        let variable = after
            .strip_prefix('(')
            .and_then(|inner| inner.split_once(')'));
        if let Some(behind) = after.strip_prefix('$') {
            filled.push('$');
            rest = behind;
        } else if let Some((value, behind)) =
            variable.and_then(|(name, behind)| Some((variables.get(name)?, behind)))
        {
            filled.push_str(value);
            rest = behind;
        } else {
            filled.push('$');
            rest = after;
        }
    }
    filled + rest
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn words(containers: &Value) -> Result<Vec<String>, String> {
        let pod = json!({"containers": containers});
        let job = json!({"spec": {"template": {"spec": pod}}});
        let command = of(&serde_json::from_value(job).unwrap())?;
        let command = command.as_std();
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        Ok(words
            .map(|word| word.to_string_lossy().into_owned())
            .collect())
    }

    #[test]
    fn a_container_is_its_command() {
        let container = json!([{
            "name": "c", "image": "i", "command": ["sh", "-c", "echo $(GREETING) $$(GREETING) $HOME"],
            "args": ["$(WHO)", "$(NOBODY)"],
            "env": [{"name": "WHO", "value": "all"}, {"name": "GREETING", "value": "hello $(WHO)"}],
        }]);
        let expected = [
            "sh",
            "-c",
            "echo hello all $(GREETING) $HOME",
            "all",
            "$(NOBODY)",
        ];
        assert_eq!(words(&container).unwrap(), expected);
    }

    #[test]
    fn what_no_process_can_be_is_refused() {
        let from = json!({"secretKeyRef": {"name": "s", "key": "k"}});
        let cases = [
            (json!([]), "this one has 0"),
            (json!([{"name": "a"}, {"name": "b"}]), "this one has 2"),
            (
                json!([{"name": "a", "image": "busybox"}]),
                "`a` has no `command`",
            ),
            (
                json!([{"name": "a", "command": ["x"], "env": [{"name": "V", "valueFrom": from}]}]),
                "variable `V` of container `a` has `valueFrom`",
            ),
            (
                json!([{"name": "a", "command": ["x"], "envFrom": [{"prefix": "P"}]}]),
                "has `envFrom`",
            ),
        ];
        for (containers, expected) in cases {
            let problem = words(&containers).unwrap_err();
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
