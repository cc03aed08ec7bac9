//! The last look: what a platform asks right before it takes a step, with the world as it is at that moment.

use super::goal::{Goal, Step, Why};
use super::ledger::Ledger;
use super::rules::{Rule, Rules};
use super::world::{Health, World};

/// Why a step is not taken. The driver looks again and decides anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The goal was decided with an older ledger than the one on record.
    Outdated,
    /// A route names the colour that was to be stopped.
    RouteNamesIt,
    /// The colour that was to be stopped still has requests in flight.
    StillDraining,
    /// The slot runs something else.
    Occupied,
    /// The target of the route isn't ready with the named revision.
    NotReady,
    /// The ledger does not intend this cutover.
    NotIntended,
}

/// Whether the goal's step may be taken now. `ledger` is the one on record, `world` was seen after it was decided.
///
/// # Errors
/// The [`Refusal`]: nothing may be done, and the site has to be looked at again.
pub fn guard(goal: &Goal, ledger: &Ledger, world: &World) -> Result<(), Refusal> {
    guard_under(Rules::ALL, goal, ledger, world)
}

/// [`guard`] with one rule left out, for the search.
///
/// # Errors
/// As [`guard`].
pub fn guard_under(rules: Rules, goal: &Goal, ledger: &Ledger, world: &World) -> Result<(), Refusal> {
    if goal.fence < ledger.version && rules.hold(Rule::Fence) {
        return Err(Refusal::Outdated);
    }
    let Some(step) = goal.step else { return Ok(()) };
    if !rules.hold(Rule::Guard) {
        return Ok(());
    }
    match step {
        Step::Start { colour, revision } => match world.slot(colour) {
            Some(occupant) if occupant.revision != revision => Err(Refusal::Occupied),
            _ => Ok(()),
        },
        Step::Stop { colour, late } => {
            if world.route.named() == Some(colour) {
                return Err(Refusal::RouteNamesIt);
            }
            let draining = world.slot(colour).and_then(|occupant| occupant.draining);
            if draining.is_some() && draining != late { Err(Refusal::StillDraining) } else { Ok(()) }
        }
        Step::Route { colour, revision, why } => {
            let intended = ledger.intent.is_some_and(|held| held.colour == colour && held.revision == revision);
            if why == Why::Cutover && !intended {
                return Err(Refusal::NotIntended);
            }
            let ready = world
                .slot(colour)
                .is_some_and(|occupant| occupant.revision == revision && occupant.health == Health::Ready);
            let free = why == Why::PutBack && !(rules.hold(Rule::PutBackCare) && serves_well(ledger, world));
            if ready || free { Ok(()) } else { Err(Refusal::NotReady) }
        }
        Step::Unroute => Ok(()),
    }
}

/// Whether the colour that the route names is ready and may be live: cleared, or the cutover under way. Drift towards it is
/// not put back to a colour that isn't ready.
pub(super) fn serves_well(ledger: &Ledger, world: &World) -> bool {
    let Some(occupant) = world.route.named().and_then(|colour| world.slot(colour)) else {
        return false;
    };
    let baking = ledger.intent.is_some_and(|held| held.revision == occupant.revision);
    occupant.health == Health::Ready
        && !ledger.rejects(occupant.revision)
        && (baking || ledger.cleared.contains(&occupant.revision))
}
