//! How a state is left alone, so that it comes to rest.

/// How the world behaves once everybody leaves it alone.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Apps get ready and artifacts are usable; otherwise neither.
    pub apps_work: bool,
    /// What checks say.
    pub checks_pass: bool,
}

impl Policy {
    /// All of them.
    pub const ALL: [Policy; 4] = [
        Policy { apps_work: true, checks_pass: true },
        Policy { apps_work: true, checks_pass: false },
        Policy { apps_work: false, checks_pass: true },
        Policy { apps_work: false, checks_pass: false },
    ];
}
