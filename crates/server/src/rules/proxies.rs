//! Which proxies are asked, and what about.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tidegate_core::{Client, ClientError, Hooks, Refusal};

use super::Rules;
use super::error::RulesError;
use crate::config::{self, ChannelOptions, Config};
use crate::proxy::{Proxy, Wanted};

/// The proxies that are not a channel's.
pub(super) struct Proxies {
    /// Says who connects, where there is no token.
    pub(super) connect: Option<Arc<Proxy>>,
    /// Says whether a connection goes on. Clients do not refresh it then.
    pub(super) refresh: Option<Arc<Proxy>>,
    rpc: Calls,
    /// The headers that are kept with a connection, because something is asked about it later; `None`: nothing is.
    pub(super) kept: Option<Wanted>,
}

/// The proxies of a namespace's channels.
#[derive(Clone, Default)]
pub(super) struct ChannelProxies {
    pub(super) subscribe: Option<Arc<Proxy>>,
    pub(super) publish: Option<Arc<Proxy>>,
    /// Says whether a subscription goes on. Clients do not refresh it then.
    pub(super) sub_refresh: Option<Arc<Proxy>>,
}

/// Who answers calls.
struct Calls {
    /// Of methods without a namespace.
    default: Option<Arc<Proxy>>,
    named: BTreeMap<String, Option<Arc<Proxy>>>,
    boundary: String,
    /// A method that does nothing.
    ping: Option<String>,
}

impl Proxies {
    pub(super) fn new(config: &Config, shelf: &mut Shelf<'_>) -> Result<Self, RulesError> {
        let proxies = &config.client.proxy;
        let event = |section: &str, event: &config::EventProxy| {
            event.enabled.then(|| Proxy::new(section, &event.proxy).map(Arc::new)).transpose()
        };
        let rpc = &config.rpc;
        let mut of_methods = |section: &str, options: &config::RpcOptions| {
            shelf.take(
                section,
                "proxy",
                options.proxy_enabled,
                &options.proxy_name,
                ("rpc.proxy", &rpc.proxy),
            )
        };
        let refresh = event("client.proxy.refresh", &proxies.refresh)?;
        let default = of_methods("rpc.without_namespace", &rpc.without_namespace)?;
        let named = rpc.namespaces.iter().map(|(name, options)| {
            Ok((name.clone(), of_methods(&format!("rpc.namespaces.{name}"), options)?))
        });
        let named = named.collect::<Result<_, RulesError>>()?;
        let boundary = rpc.namespace_boundary.clone();
        let ping = rpc.ping.enabled.then(|| rpc.ping.method.clone());
        let kept = shelf.wanted.clone();
        let kept = match &refresh {
            None => kept,
            Some(proxy) => {
                let mut kept = kept.unwrap_or_default();
                kept.add(proxy.wanted());
                Some(kept)
            }
        };
        Ok(Self {
            connect: event("client.proxy.connect", &proxies.connect)?,
            refresh,
            rpc: Calls { default, named, boundary, ping },
            kept,
        })
    }
}

impl ChannelProxies {
    pub(super) fn new(
        section: &str,
        options: &ChannelOptions,
        defaults: &config::ChannelProxies,
        shelf: &mut Shelf<'_>,
    ) -> Result<Self, RulesError> {
        let config::ChannelProxies { subscribe, publish, sub_refresh } = defaults;
        let mut take = |kind, enabled, name: &str, default| shelf.take(section, kind, enabled, name, default);
        Ok(Self {
            subscribe: take(
                "subscribe_proxy",
                options.subscribe_proxy_enabled,
                &options.subscribe_proxy_name,
                ("channel.proxy.subscribe", subscribe),
            )?,
            publish: take(
                "publish_proxy",
                options.publish_proxy_enabled,
                &options.publish_proxy_name,
                ("channel.proxy.publish", publish),
            )?,
            sub_refresh: take(
                "sub_refresh_proxy",
                options.sub_refresh_proxy_enabled,
                &options.sub_refresh_proxy_name,
                ("channel.proxy.sub_refresh", sub_refresh),
            )?,
        })
    }
}

/// The proxies made so far: one of a name, however many ask it, so that its bounds hold for all together.
pub(super) struct Shelf<'a> {
    config: &'a Config,
    made: BTreeMap<String, Arc<Proxy>>,
    /// What the proxies made so far want of clients.
    wanted: Option<Wanted>,
}

impl<'a> Shelf<'a> {
    pub(super) fn new(config: &'a Config) -> Self {
        Self { config, made: BTreeMap::new(), wanted: None }
    }

    /// The proxy that `section` names in its `{kind}_name`, if its `{kind}_enabled` says so.
    fn take(
        &mut self,
        section: &str,
        kind: &str,
        enabled: bool,
        name: &str,
        default: (&str, &config::Proxy),
    ) -> Result<Option<Arc<Proxy>>, RulesError> {
        if !enabled {
            return Ok(None);
        }
        let (place, options) = match self.config.proxies.get(name) {
            Some(options) => (format!("proxies.{name}"), options),
            None if name == DEFAULT => (default.0.to_owned(), default.1),
            None => {
                return Err(RulesError::BadValue {
                    key: format!("{section}.{kind}_name"),
                    found: format!("{name:?}"),
                    expected: "\"default\", or the name of one of proxies".to_owned(),
                });
            }
        };
        if let Some(made) = self.made.get(&place) {
            return Ok(Some(made.clone()));
        }
        let made = Arc::new(Proxy::new(&place, options)?);
        self.wanted.get_or_insert_default().add(made.wanted());
        self.made.insert(place, made.clone());
        Ok(Some(made))
    }
}

#[async_trait]
impl Hooks for Rules {
    async fn rpc(&self, client: &Client, method: &str, data: Bytes) -> Result<Bytes, Refusal> {
        let calls = &self.proxies.rpc;
        if calls.ping.as_deref() == Some(method) {
            return Ok(Bytes::new());
        }
        if calls.default.is_none() && calls.named.values().all(Option::is_none) {
            // Where one method is there, others are not found; where none is, calls are not available.
            let ping = calls.ping.is_some();
            return Err(if ping { ClientError::METHOD_NOT_FOUND } else { ClientError::NOT_AVAILABLE }.into());
        }
        let namespace = method.split_once(&*calls.boundary);
        // What begins with the boundary has no namespace.
        let namespace = namespace.filter(|(name, _)| !calls.boundary.is_empty() && !name.is_empty());
        let proxy = match namespace {
            None => &calls.default,
            Some((name, _)) => calls.named.get(name).ok_or(ClientError::METHOD_NOT_FOUND)?,
        };
        proxy.as_ref().ok_or(ClientError::NOT_AVAILABLE)?.rpc(client, method, &data).await
    }
}

/// The name of a section's own proxy.
const DEFAULT: &str = "default";
