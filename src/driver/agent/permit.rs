//! Asks the machine what the allow-list alone can't know: which account a name is, where a link leads, who listens on a port.

mod doors;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Agent;
use super::allow::{self, refused};
use super::entry::Problem;
use super::origin::Origin;
use crate::api::names::reasons;
use crate::api::site::{Front, SiteOnHost};
use crate::platform::host::afar::{Afar, Fence, real};
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
        allow::judge(self.config.allow.as_ref(), &self.ours(), site)?;
        let user = &site.target.run.user;
        // One that isn't there is told where every site is told so.
        if let Err(error @ (AccountError::Root { .. } | AccountError::System { .. })) = check_user(user) {
            return Err(refused(format!("spec.target.host.user: {error}")));
        }
        self.where_links_lead(site)?;
        self.whose_ports(site)
    }

    /// What a site of this origin is given here; `None`: all that root may give it.
    pub(super) fn afar(&self, origin: &Origin) -> Option<Afar> {
        let secrets = match origin {
            Origin::Folder => return None,
            Origin::Hub { hub, .. } => Some(self.vault.of(hub)),
            Origin::Git { .. } => None,
        };
        Some(Afar { certificates: self.certificates(), secrets })
    }

    /// What nothing may be given from, as it is named and as it is.
    fn ours(&self) -> Vec<PathBuf> {
        self.config.ours().into_iter().flat_map(|path| [real(&path), path]).collect()
    }

    fn certificates(&self) -> Fence {
        let folders = self.config.allow.iter().flat_map(|allow| &allow.certificates);
        Fence::new(folders.map(|folder| folder.as_path().to_owned()).collect(), self.ours())
    }

    /// certbot's names are links, and are followed: so where they lead has to be allowed too. Whoever opens them looks again.
    fn where_links_lead(&self, site: &SiteOnHost) -> Result<(), Problem> {
        let Front::Own { tls: Some(tls), .. } = &site.target.front else { return Ok(()) };
        let fence = self.certificates();
        for (field, path) in [("certificate", &tls.certificate), ("key", &tls.key)] {
            let leads = real(path.as_path());
            if !fence.holds(&leads) {
                return Err(refused(format!(
                    "spec.target.host.tls.{field}: {path} leads to {}, which this host does not allow from afar; allow.certificates of its agent.yaml \
                     says what it allows",
                    leads.display()
                )));
            }
        }
        Ok(())
    }

    fn whose_ports(&self, site: &SiteOnHost) -> Result<(), Problem> {
        let wanted: BTreeSet<u16> = site.target.run.ports.all().collect();
        let kept: Vec<u16> = doors::of_sshd(Path::new("/")).intersection(&wanted).copied().collect();
        if !kept.is_empty() {
            return Err(refused(format!(
                "spec.target.host.ports: {kept:?}: the configuration of sshd names it, and an app's ports are closed to others; take another one"
            )));
        }
        let mut ours = self.host.firewall.of(&site.name);
        ours.extend(self.sites_in_order().iter().flat_map(|site| site.target.run.ports.all().collect::<Vec<_>>()));
        let taken = doors::taken(&wanted, &ours);
        if taken.is_empty() {
            return Ok(());
        }
        let message = format!(
            "spec.target.host.ports: {taken:?}: somebody else listens there on this host, and would be cut off; take another one, or stop what listens"
        );
        Err(Problem { reason: reasons::PORT_TAKEN, message })
    }
}
