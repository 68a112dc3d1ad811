//! The part of `verdict controller`'s command line that is about who leads.

use std::env;
use std::fs;
use std::time::Duration;

use clap::{ArgAction, Args};
use thiserror::Error;

use super::uuid;
use crate::controllers::leader::{Election, Timing, TimingError};

/// Where a pod finds the namespace that it runs in.
const SERVICE_ACCOUNT_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Argo's, where nothing says otherwise.
pub(super) const DEFAULT_NAMESPACE: &str = "argo-rollouts";

/// The Lease of Argo's own controller: it and this one never work at the same time.
const ALL_CONTROLLERS: &str = "argo-rollouts-controller-lock";

/// With another name an analysis controller works beside Argo's own controller.
const ANALYSIS_ONLY: &str = "verdict-analysis-controller-lock";

#[derive(Debug, Args)]
#[command(next_help_heading = "Leader election")]
pub(super) struct LeaderArgs {
    /// Work only while holding a Lease, so that of several replicas one works and the others stand
    /// by; `--leader-elect=false` for a controller that is alone
    ///
    /// The Lease is `argo-rollouts-controller-lock`, that of Argo's own controller: the two never
    /// work at the same time. With `--controllers analysis` it is
    /// `verdict-analysis-controller-lock`, so that Argo's controller goes on. With `--instance-id`,
    /// `-ID` is appended.
    #[arg(
        long,
        value_name = "BOOL",
        default_value_t = true,
        action = ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    leader_elect: bool,

    /// How long other replicas wait after the last renewal of the Lease that they saw
    #[arg(long, value_name = "DURATION", default_value = "15s", value_parser = super::duration)]
    leader_election_lease_duration: Duration,

    /// How long after its last renewal a leader that cannot renew the Lease goes on before it ends
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = super::duration)]
    leader_election_renew_deadline: Duration,

    /// The wait between renewals, and between tries to get the Lease
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = super::duration)]
    leader_election_retry_period: Duration,

    /// The namespace of the controller itself, where the Lease is [default: that of the pod's
    /// service account, else `argo-rollouts`]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    controller_namespace: Option<String>,
}

/// Why there can be no election.
#[derive(Debug, Error)]
pub(super) enum Error {
    #[error("cannot campaign for a Lease: {0}")]
    Timing(#[from] TimingError),
    #[error(
        "cannot name a Lease `{0}`: only lower case letters, digits, `-` and `.` are allowed\n\
         hint: choose another --instance-id, or --leader-elect=false if there is one replica"
    )]
    Name(String),
    #[error("cannot make an identity: the system gives no random numbers")]
    Identity,
}

impl LeaderArgs {
    /// The election that is asked for; `None` if there is to be none.
    pub(super) fn election(
        &self,
        analysis_only: bool,
        instance_id: Option<&str>,
    ) -> Result<Option<Election>, Error> {
        if !self.leader_elect {
            return Ok(None);
        }
        let timing = Timing {
            lease_duration: self.leader_election_lease_duration,
            renew_deadline: self.leader_election_renew_deadline,
            retry_period: self.leader_election_retry_period,
        };
        timing.check()?;
        Ok(Some(Election {
            namespace: self.namespace(),
            name: lease_name(analysis_only, instance_id)?,
            identity: identity()?,
            timing,
        }))
    }

    /// The namespace of the controller itself.
    pub(super) fn namespace(&self) -> String {
        let given = self.controller_namespace.clone();
        let given = given.filter(|namespace| !namespace.is_empty());
        given
            .or_else(|| fs::read_to_string(SERVICE_ACCOUNT_NAMESPACE).ok())
            .map_or_else(
                || DEFAULT_NAMESPACE.to_owned(),
                |namespace| namespace.trim().to_owned(),
            )
    }
}

fn lease_name(analysis_only: bool, instance_id: Option<&str>) -> Result<String, Error> {
    let base = if analysis_only {
        ANALYSIS_ONLY
    } else {
        ALL_CONTROLLERS
    };
    let name = instance_id.map_or_else(|| base.to_owned(), |id| format!("{base}-{id}"));
    if is_subdomain(&name) {
        Ok(name)
    } else {
        Err(Error::Name(name))
    }
}

/// Whether Kubernetes allows an object of most kinds to have this name.
fn is_subdomain(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut parts = name.split('.').map(str::as_bytes);
    name.len() <= 253
        && parts.all(|part| {
            part.iter().all(|byte| is_plain(*byte) || *byte == b'-')
                && part.first().copied().is_some_and(is_plain)
                && part.last().copied().is_some_and(is_plain)
        })
}

/// The host and a random UUID, as Argo's controller calls itself: no two processes share it.
fn identity() -> Result<String, Error> {
    let uuid = uuid::random().map_err(|_| Error::Identity)?;
    Ok(format!("{}_{uuid}", host()))
}

fn host() -> String {
    let told = env::var_os("HOSTNAME").and_then(|name| name.into_string().ok());
    let told = told.or_else(|| fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let told = told.map(|name| name.trim().to_owned());
    told.filter(|name| !name.is_empty())
        .unwrap_or_else(|| "verdict".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        leader: LeaderArgs,
    }

    fn parsed(flags: &[&str]) -> LeaderArgs {
        let words = ["verdict"].iter().chain(flags);
        Program::try_parse_from(words).unwrap().leader
    }

    #[test]
    fn replicas_elect_a_leader_unless_told_otherwise() {
        for (flags, expected) in [
            (&[][..], true),
            (&["--leader-elect"], true),
            (&["--leader-elect=true"], true),
            (&["--leader-elect=false"], false),
        ] {
            let election = parsed(flags).election(false, None).unwrap();
            assert_eq!(election.is_some(), expected, "{flags:?}");
        }
    }

    #[test]
    fn times_and_namespace_are_as_the_flags_say() {
        let flags = [
            "--leader-election-lease-duration=1m",
            "--leader-election-renew-deadline=40s",
            "--leader-election-retry-period=500ms",
            "--controller-namespace=ops",
        ];
        let election = parsed(&flags).election(false, None).unwrap().unwrap();
        assert_eq!(election.namespace, "ops");
        let expected = Timing {
            lease_duration: Duration::from_mins(1),
            renew_deadline: Duration::from_secs(40),
            retry_period: Duration::from_millis(500),
        };
        assert_eq!(election.timing, expected);
        let short = parsed(&["--leader-election-lease-duration=5s"]).election(false, None);
        let error = short.unwrap_err().to_string();
        assert!(error.contains("longer than the renew deadline"), "{error}");
    }

    #[test]
    fn an_analysis_controller_does_not_take_the_lease_of_argo_s_controller() {
        for (analysis_only, id, expected) in [
            (false, None, Some("argo-rollouts-controller-lock")),
            (
                false,
                Some("blue"),
                Some("argo-rollouts-controller-lock-blue"),
            ),
            (true, None, Some("verdict-analysis-controller-lock")),
            (
                true,
                Some("blue"),
                Some("verdict-analysis-controller-lock-blue"),
            ),
            (false, Some("Blue"), None),
            (false, Some("a_b"), None),
            (false, Some("a..b"), None),
        ] {
            let name = lease_name(analysis_only, id).ok();
            assert_eq!(name.as_deref(), expected, "{id:?}");
        }
    }

    #[test]
    fn no_two_processes_share_an_identity() {
        let (one, other) = (identity().unwrap(), identity().unwrap());
        assert_ne!(one, other);
        let (_, uuid) = one.rsplit_once('_').unwrap();
        let lengths: Vec<_> = uuid.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert_eq!(uuid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uuid.as_bytes()[19]));
    }
}
