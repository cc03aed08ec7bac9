//! The contestants that need no bluegreen: the recipe that everybody knows, and a bare nginx with a static upstream.

use std::fs;

use anyhow::Result;

use super::cutovers::Moment;
use crate::app::{Child, now_ns};
use crate::nginx::Nginx;

/// What a careful administrator writes into a location that proxies. The app is told as much as by us: what it costs to read is the app's own.
const PROXY: &str = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; \
    proxy_set_header X-Real-IP $remote_addr; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; \
    proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host; \
    proxy_set_header X-Forwarded-Port $server_port;";

/// Two colours behind an nginx whose upstream stands in an include file.
#[derive(Debug)]
pub struct Recipe {
    /// The web server.
    pub nginx: Nginx,
    apps: [Child; 2],
}

impl Recipe {
    /// With blue live.
    ///
    /// # Errors
    /// When nginx or the app doesn't come up.
    pub fn start(nginx: Nginx) -> Result<Recipe> {
        let apps = [Child::start("v1", &["--colour", "blue"])?, Child::start("v2", &["--colour", "green"])?];
        let recipe = Recipe { nginx, apps };
        recipe.include(0)?;
        let folder = recipe.nginx.folder().display().to_string();
        recipe.nginx.write(
            "site.conf",
            &format!(
                "upstream app {{ include {folder}/service-url.inc; keepalive 64; }}\n\
                 server {{ listen {}; server_name shop.test; location / {{ {PROXY} proxy_pass http://app; }} }}\n",
                recipe.nginx.address()
            ),
        )?;
        recipe.nginx.reload_and_wait()?;
        Ok(recipe)
    }

    /// Rewrites the include file and reloads, as everybody does.
    ///
    /// # Errors
    /// When the file can't be written or nginx refuses.
    pub fn cut_to(&self, index: usize) -> Result<Moment> {
        let decided_ns = now_ns();
        self.include(index)?;
        self.nginx.reload()?;
        Ok(Moment { decided_ns, made_ns: now_ns() })
    }

    fn include(&self, index: usize) -> Result<()> {
        let text = format!("server {};\n", self.apps[index].address());
        Ok(fs::write(self.nginx.folder().join("service-url.inc"), text)?)
    }
}

/// One app behind an nginx whose configuration names it and nothing else.
#[derive(Debug)]
pub struct Static {
    /// The web server.
    pub nginx: Nginx,
    _app: Child,
}

impl Static {
    /// Starts it.
    ///
    /// # Errors
    /// When nginx or the app doesn't come up.
    pub fn start(nginx: Nginx) -> Result<Static> {
        let app = Child::start("v1", &[])?;
        nginx.write(
            "site.conf",
            &format!(
                "upstream app {{ server {}; keepalive 64; }}\n\
                 server {{ listen {}; server_name shop.test; location / {{ {PROXY} proxy_pass http://app; }} }}\n",
                app.address(),
                nginx.address()
            ),
        )?;
        nginx.reload_and_wait()?;
        Ok(Static { nginx, _app: app })
    }
}
