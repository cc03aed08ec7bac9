//! Takes what somebody uploaded over into a release: read-only, root's, complete before it is visible.
