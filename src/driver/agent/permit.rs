//! Asks the machine what the allow-list alone can't know: which account a name is, and where a link leads.

use std::path::{Path, PathBuf};

use super::Agent;
use super::allow::{self, refused};
use super::entry::Problem;
use super::origin::Origin;
use crate::api::site::{Front, SiteOnHost};
use crate::platform::host::release::{AccountError, check_user};
use crate::platform::host::supervise::Supervisor;
use crate::platform::host::web::WebServer;

impl<W: WebServer + 'static, S: Supervisor + 'static> Agent<W, S> {
    /// Judges whether a site of this origin may be what it says here.
    ///
    /// # Errors
    /// It may not; what was accepted of it before goes on.
    pub(super) fn permit(&self, origin: &Origin, site: &SiteOnHost) -> Result<(), Problem> {
        if origin.is_folder() {
            return Ok(());
        }
        let ours = [&self.config.state_dir, &self.config.sites_dir, &self.config.run_dir];
        let ours: Vec<PathBuf> = ours.into_iter().flat_map(|path| [path.clone(), real(path)]).collect();
        allow::judge(self.config.allow.as_ref(), &ours, site)?;
        let user = &site.target.run.user;
        // One that isn't there is told where every site is told so.
        if let Err(error @ (AccountError::Root { .. } | AccountError::System { .. })) = check_user(user) {
            return Err(refused(format!("spec.target.host.user: {error}")));
        }
        self.where_links_lead(site, &ours)
    }

    /// certbot's names are links, and are followed: so where they lead has to be allowed too.
    fn where_links_lead(&self, site: &SiteOnHost, ours: &[PathBuf]) -> Result<(), Problem> {
        let Front::Own { tls: Some(tls), .. } = &site.target.front else { return Ok(()) };
        let folders: Vec<PathBuf> =
            self.config.allow.iter().flat_map(|allow| &allow.files).map(|folder| real(folder.as_path())).collect();
        for (field, path) in [("certificate", &tls.certificate), ("key", &tls.key)] {
            let leads = real(path.as_path());
            let allowed = folders.iter().any(|folder| leads.starts_with(folder));
            if !allowed || ours.iter().any(|ours| leads.starts_with(ours)) {
                return Err(refused(format!(
                    "spec.target.host.tls.{field}: {path} leads to {}, which this host does not allow from afar; allow.files of its agent.yaml says what it \
                     allows",
                    leads.display()
                )));
            }
        }
        Ok(())
    }
}

/// Where a path leads; itself, if there is nothing.
fn real(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
