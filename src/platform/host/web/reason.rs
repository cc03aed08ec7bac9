//! The reasons of the front door's faults, the same for every web server.

/// The web server is not running.
pub const DOWN: &str = "WebServerDown";
/// The web server is not installed.
pub const MISSING: &str = "WebServerMissing";
/// The web server is too old.
pub const TOO_OLD: &str = "WebServerTooOld";
/// The web server lacks a module.
pub const MODULE_MISSING: &str = "WebServerModuleMissing";
/// The web server refuses its configuration because of somebody else's file.
pub const CONFIGURATION_BROKEN: &str = "WebServerConfigBroken";
/// The web server refuses its configuration because of ours.
pub const CONFIGURATION_REFUSED: &str = "WebServerConfigRefused";
/// The configuration could not be tested.
pub const UNTESTED: &str = "WebServerConfigUntested";
/// A reload was refused, or came to nothing.
pub const RELOAD_FAILED: &str = "WebServerReloadFailed";
/// Somebody else serves the host name, or listens in a way that takes its requests.
pub const HOSTNAME_TAKEN: &str = "HostnameTaken";
/// The web server does not read our folder.
pub const FOLDER_NOT_INCLUDED: &str = "WebServerFolderNotIncluded";
/// No server block includes the snippet.
pub const SNIPPET_NOT_INCLUDED: &str = "SnippetNotIncluded";
/// Our files can't be read or written.
pub const FILES: &str = "WebServerFiles";
/// The site is not in what the web server has in force.
pub const NOT_IN_FORCE: &str = "WebServerNotInForce";
