//! What SIGHUP does: the configuration is read again, and what can be changed while the server runs is.

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use metrics::counter;
use tidegate_server::config::{self, Change, Config, Loaded, Sources, Values};
use tidegate_server::transport_ws::Origins;
use tidegate_server::{Handle, Rules, admin, http};
use tokio::signal::unix::Signal;
use tracing_subscriber::EnvFilter;

use crate::clients;
use crate::log::{self, Log};
use crate::node::{self, Failure};
use crate::ports::Face;
use crate::quic;

/// A running server, as far as its configuration can be changed.
pub(crate) struct Reload {
    /// What the configuration is read from, as at the start.
    pub(crate) sources: Sources,
    pub(crate) dev: bool,
    /// The values in force.
    pub(crate) values: Values,
    pub(crate) config: Config,
    /// The rules in force, for those who ask when there is no connection.
    pub(crate) rules: Arc<ArcSwap<Rules>>,
    pub(crate) handle: Handle,
    pub(crate) metrics: http::Metrics,
    /// What the admin page remembers whatever is reloaded.
    pub(crate) desk: admin::Desk,
    pub(crate) faces: Vec<Face>,
    pub(crate) quic: Option<quic::Face>,
    pub(crate) log: Log,
}

/// A configuration that is good as a whole, before any of it is applied.
struct Next {
    config: Config,
    values: Values,
    warnings: Vec<String>,
    changes: Vec<Change>,
    rules: Arc<Rules>,
    filter: EnvFilter,
    routers: Vec<axum::Router>,
    certificates: Vec<Option<http::Certificate>>,
    quic: Option<http::Certificate>,
    origins: Origins,
}

impl Reload {
    /// Reloads with every SIGHUP, and looks for newer certificates in between.
    pub(crate) async fn run(mut self, mut hangup: Signal) -> Infallible {
        let mut complaint = String::new();
        loop {
            let tls = self.quic.is_some() || self.faces.iter().any(|face| face.tls.is_some());
            let look = self.config.http_server.tls_check_interval.filter(|_| tls);
            tokio::select! {
                hung_up = hangup.recv() => match hung_up {
                    Some(()) => self.reload(),
                    None => std::future::pending().await,
                },
                () = tokio::time::sleep(look.unwrap_or_default()), if look.is_some() => self.renew(&mut complaint),
            }
        }
    }

    fn reload(&mut self) {
        let result = match self.prepare() {
            Ok(next) => {
                self.apply(next);
                "applied"
            }
            Err(error) => {
                tracing::error!("SIGHUP: the configuration was not reloaded, the old one stays: {error}");
                "rejected"
            }
        };
        counter!("tidegate_reloads_total", "result" => result).increment(1);
    }

    /// Reads everything, and makes everything that can fail.
    fn prepare(&self) -> Result<Next, Failure> {
        let Loaded { mut config, warnings, values } = config::load(&self.sources)?;
        if self.dev {
            node::develop(&mut config);
        }
        let changes = self.values.changes(&values);
        let filter = log::filter(&config.log)?;
        let new = Rules::new(&config)?;
        // New rules fetch keys of tokens anew: they are not needed where nothing about them changed.
        let elsewhere = |change: &Change| {
            ["http_server.", "log.", "shutdown."].iter().any(|section| change.key.name.starts_with(section))
        };
        let rules = match changes.iter().all(elsewhere) {
            true => self.rules.load_full(),
            false => Arc::new(new),
        };
        let routes = |face: &Face| {
            let (metrics, handle) = (self.metrics.clone(), self.handle.clone());
            node::routes(&config, face.side, rules.clone(), metrics, handle, &self.desk)
        };
        let routers = self.faces.iter().map(routes).collect::<Result<_, _>>()?;
        let certificate = |face: &Face| match &face.tls {
            // That TLS is to be off takes a restart; until then there is the certificate that was.
            Some((section, _)) if section.options(&config).enabled => section.certificate(&config).map(Some),
            _ => Ok(None),
        };
        let certificates = self.faces.iter().map(certificate).collect::<Result<_, _>>()?;
        let quic = self.quic.as_ref().and_then(|face| face.section);
        let quic = quic.filter(|section| section.options(&config).enabled);
        let quic = quic.map(|section| section.certificate(&config)).transpose()?;
        let origins = clients::origins(&config)?;
        Ok(Next { values, warnings, changes, rules, filter, routers, certificates, quic, origins, config })
    }

    fn apply(&mut self, next: Next) {
        if let Err(error) = self.log.again(next.filter) {
            tracing::error!("SIGHUP: {error}");
        }
        let config = next.config;
        let capacity = node::capacity(&config);
        self.handle.set_caps(capacity.caps);
        self.handle.set_settings(node::settings(&config, capacity.http));
        self.handle.set_shutdown(node::shutdown(&config));
        self.handle.set_authenticator(next.rules.clone());
        self.rules.store(next.rules);
        for (face, router) in self.faces.iter().zip(next.routers) {
            face.routes.replace(router);
        }
        for (face, certificate) in self.faces.iter().zip(next.certificates) {
            if let (Some((section, tls)), Some(certificate)) = (&face.tls, certificate)
                && tls.replace(certificate)
            {
                tracing::info!("{}: a new certificate is in use", section.name());
            }
        }
        if let Some(face) = &self.quic {
            face.allow(next.origins);
            if let Some(certificate) = next.quic {
                renewed(face.replace(certificate));
            }
        }
        for warning in next.warnings.iter().chain(&capacity.warnings) {
            tracing::warn!("{warning}");
        }
        for change in &next.changes {
            if change.key.is_reloadable() {
                tracing::info!("{change}");
            } else {
                tracing::warn!("{change}: takes effect after a restart");
            }
        }
        self.values = next.values.in_force(&self.values);
        self.config = config;
        tracing::info!(changes = next.changes.len(), "SIGHUP: the configuration was reloaded");
    }

    /// Takes newer certificates from their files. A certificate and its key are seldom replaced at the same
    /// moment: what does not fit is said, once, and tried again.
    fn renew(&self, complaint: &mut String) {
        let mut complaints = Vec::new();
        for (section, tls) in self.faces.iter().filter_map(|face| face.tls.as_ref()) {
            if !section.options(&self.config).enabled {
                continue;
            }
            match section.certificate(&self.config) {
                Ok(certificate) => {
                    if tls.replace(certificate) {
                        tracing::info!("{}: a new certificate is in use", section.name());
                    }
                }
                Err(error) => complaints.push(error.to_string()),
            }
        }
        if let Some((face, section)) = self.quic.as_ref().and_then(|face| Some((face, face.section?)))
            && section.options(&self.config).enabled
        {
            match section.certificate(&self.config) {
                Ok(certificate) => renewed(face.replace(certificate)),
                Err(error) => complaints.push(error.to_string()),
            }
        }
        let complaints = complaints.join("; ");
        if complaints != *complaint && !complaints.is_empty() {
            tracing::error!("the certificate in use stays: {complaints}");
        }
        *complaint = complaints;
    }
}

/// Says what became of a certificate for QUIC.
fn renewed(other: Result<bool, Failure>) {
    match other {
        Ok(true) => tracing::info!("QUIC: a new certificate is in use"),
        Ok(false) => {}
        Err(error) => tracing::error!("QUIC: the certificate in use stays: {error}"),
    }
}
