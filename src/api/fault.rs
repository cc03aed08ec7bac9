//! Why something was not done: whose it is, in a word for programs, and in words for people.

/// Why a step was not made. The class picks the retry, the condition and the metric's label.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// Whose it is, and whether to try again.
    pub class: Class,
    /// The condition's reason, in CamelCase.
    pub reason: &'static str,
    /// What happened and what to do, for people.
    pub message: String,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It passes: try again, soon and then less often.
    Transient,
    /// The world changed under the decision: look again at once.
    Conflict,
    /// Somebody has to change something: try again when the specification or the world changes, and now and then.
    User,
    /// We may not do this.
    Forbidden,
}
