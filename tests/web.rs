//! The contract of a web server as the front door: each one for real, in a prefix of its own for each test.
#![allow(clippy::unwrap_used, clippy::panic)]

/// Makes a test of each of these for every web server; they are generic functions of the module that says it.
macro_rules! on_every_server {
    ($($name:ident),* $(,)?) => {
        mod nginx {
            use bluegreen::platform::host::web::nginx::NginxSettings;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name::<NginxSettings>().await;
            })*
        }
        mod apache {
            use bluegreen::platform::host::web::apache::ApacheSettings;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name::<ApacheSettings>().await;
            })*
        }
    };
}

#[path = "web/changing.rs"]
mod changing;
#[path = "web/draining.rs"]
mod draining;
#[path = "web/faults.rs"]
mod faults;
#[path = "web/files.rs"]
mod files;
#[path = "web/fixture.rs"]
mod fixture;
#[path = "web/only_apache.rs"]
mod only_apache;
#[path = "web/preview.rs"]
mod preview;
#[path = "web/rendering.rs"]
mod rendering;
#[path = "web/requests.rs"]
mod requests;
#[path = "web/serving.rs"]
mod serving;
#[path = "web/stands.rs"]
mod stands;
#[path = "web/tls.rs"]
mod tls;
