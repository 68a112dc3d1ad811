//! `promote`: let a Rollout go on.

use clap::Args;

use super::patches::Patches;
use super::selection::{self, Asked, Selection, Work, each};
use super::{Around, Error};
use crate::api::{GateAction, Rollout};
use crate::cli::{Exit, Output};
use crate::gate;
use crate::rollout::operations::{self, Promote, Promotion};

/// Let Rollouts go on
///
/// Ends the pause at which a Rollout waits, or its current step. With --full all that is left is
/// skipped, analyses too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  {prog} promote web
  {prog} promote web --full
  {prog} promote -l team=shop --dry-run")]
pub(in crate::cli) struct PromoteArgs {
    #[command(flatten)]
    selection: Selection,
    /// Skip all that is left: steps, pauses and analyses
    #[arg(long)]
    full: bool,
    #[arg(long, short = 'c', hide = true)]
    skip_current_step: bool,
    #[arg(long, short = 'a', hide = true)]
    skip_all_steps: bool,
}

pub(super) async fn run(
    args: &PromoteArgs,
    around: &Around,
    output: &mut Output,
) -> Result<Exit, Error> {
    let how = how(args, output)?;
    let done = match how {
        Promote::Full => "fully promoted",
        Promote::Next | Promote::SkipCurrentStep | Promote::SkipAllSteps => "promoted",
    };
    let action = match how {
        Promote::Full => GateAction::PromoteFull,
        Promote::Next | Promote::SkipCurrentStep | Promote::SkipAllSteps => GateAction::Promote,
    };
    let work = Work {
        done,
        told: done,
        misfit: |rollout: &Rollout| gate::misfit(action, rollout),
        asked: async |name: &str| {
            let rollout = selection::rollout(around, name).await?;
            let promotion = operations::promotion(&rollout, how).map_err(Error::new)?;
            Ok(Asked {
                hint: idle(&promotion, how),
                patches: Patches::Promotion(promotion),
            })
        },
    };
    each(&args.selection, work, around, output).await
}

fn how(args: &PromoteArgs, output: &mut Output) -> Result<Promote, Error> {
    if args.skip_current_step {
        output.talk(
            "Flag --skip-current-step has been deprecated, use without the flag instead ex: \
             promote ROLLOUT_NAME",
        );
    }
    if args.skip_all_steps {
        output.talk("Flag --skip-all-steps has been deprecated, use --full instead");
    }
    match (args.skip_current_step, args.skip_all_steps) {
        (true, true) => Err(Error::new(
            "Cannot use skip-current-step and skip-all-steps flags at the same time",
        )),
        (true, false) => Ok(Promote::SkipCurrentStep),
        (false, true) => Ok(Promote::SkipAllSteps),
        (false, false) if args.full => Ok(Promote::Full),
        (false, false) => Ok(Promote::Next),
    }
}

/// Argo's plugin says that it has promoted even if there was nothing to promote.
fn idle(promotion: &Promotion, how: Promote) -> Option<&'static str> {
    let is_idle = promotion.status.is_none() && promotion.object.is_none();
    is_idle.then_some(match how {
        Promote::Full => "nothing was sent: its current revision is the stable one",
        Promote::Next | Promote::SkipCurrentStep | Promote::SkipAllSteps => {
            "nothing was sent: it waits at no pause, and has no steps; --full ends what is under way"
        }
    })
}
