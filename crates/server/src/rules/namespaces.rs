//! How channel names are read.

use std::collections::BTreeMap;

use tidegate_core::{ClientError, Lag};

use super::error::RulesError;
use super::namespace::{Namespace, Policies};
use super::proxies::{ChannelProxies, Shelf};
use crate::config::Channels;

/// The namespaces, and how a channel name says which one it is in.
pub(super) struct Namespaces {
    default: Namespace,
    named: BTreeMap<String, Namespace>,
    max_length: usize,
    private_prefix: String,
    boundary: String,
    user_boundary: String,
    user_separator: String,
}

impl Namespaces {
    pub(super) fn new(channels: &Channels, behind: Lag) -> Result<Self, RulesError> {
        let policies = Policies::new(behind);
        let default = &channels.without_namespace;
        let named = channels.namespaces.iter().map(|(name, options)| {
            let section = format!("channel.namespaces.{name}");
            Ok((name.clone(), Namespace::new(&section, options, channels, &policies)?))
        });
        Ok(Self {
            default: Namespace::new("channel.without_namespace", default, channels, &policies)?,
            named: named.collect::<Result<_, RulesError>>()?,
            max_length: channels.max_length,
            private_prefix: channels.private_prefix.clone(),
            boundary: channels.namespace_boundary.clone(),
            user_boundary: channels.user_boundary.clone(),
            user_separator: channels.user_separator.clone(),
        })
    }

    /// Has clients' channels asked about where the configuration says so.
    pub(super) fn ask(&mut self, channels: &Channels, shelf: &mut Shelf<'_>) -> Result<(), RulesError> {
        let default = ("channel.without_namespace".to_owned(), &mut self.default);
        let named = self.named.iter_mut();
        let named = named.map(|(name, namespace)| (format!("channel.namespaces.{name}"), namespace));
        for (section, namespace) in std::iter::once(default).chain(named) {
            namespace.proxies = ChannelProxies::new(&section, &namespace.options, &channels.proxy, shelf)?;
        }
        Ok(())
    }

    /// The namespace of a channel that the server names: its name is not judged otherwise.
    pub(super) fn of(&self, channel: &str) -> Result<&Namespace, ClientError> {
        Ok(self.split(channel)?.0)
    }

    /// The namespace of a channel that a client wants to be subscribed to, whose length is bounded, too.
    ///
    /// # Errors
    /// 107 for a name that is too long, and as [`named_by_client`](Self::named_by_client) says.
    pub(super) fn wanted_by_client(&self, channel: &str) -> Result<&Namespace, ClientError> {
        if channel.len() > self.max_length {
            return Err(ClientError::BAD_REQUEST);
        }
        self.named_by_client(channel)
    }

    /// The namespace of a channel that a client names, whose letters are bounded: by the namespace's expression, or to ASCII.
    ///
    /// # Errors
    /// 107 for a name that has other letters, 102 for an unknown namespace.
    pub(super) fn named_by_client(&self, channel: &str) -> Result<&Namespace, ClientError> {
        if channel.is_empty() {
            return Err(ClientError::BAD_REQUEST);
        }
        let (namespace, rest) = self.split(channel)?;
        let sound = match &namespace.expression {
            Some(expression) => expression.is_match(rest),
            None => channel.is_ascii(),
        };
        if sound { Ok(namespace) } else { Err(ClientError::BAD_REQUEST) }
    }

    /// The namespace of channels without one.
    pub(super) fn default(&self) -> &Namespace {
        &self.default
    }

    /// Whether clients need a token for the channel, whatever the options say.
    pub(super) fn is_private(&self, channel: &str) -> bool {
        !self.private_prefix.is_empty() && channel.starts_with(&*self.private_prefix)
    }

    /// The users that a channel's name ends with, if it does: `team#ann,bob`.
    pub(super) fn users<'a>(&'a self, channel: &'a str) -> Option<Users<'a>> {
        let boundary = Some(&*self.user_boundary).filter(|boundary| !boundary.is_empty())?;
        let (_, list) = channel.rsplit_once(boundary)?;
        Some(Users { list, separator: &self.user_separator })
    }

    /// A user's own channel in `namespace`, which may be empty.
    pub(super) fn personal(&self, namespace: &str, user: &str) -> String {
        let boundary = if namespace.is_empty() { "" } else { &*self.boundary };
        format!("{namespace}{boundary}{}{user}", self.user_boundary)
    }

    /// The namespace, and what comes behind it in the name.
    fn split<'a>(&self, channel: &'a str) -> Result<(&Namespace, &'a str), ClientError> {
        let public = match self.is_private(channel) {
            true => &channel[self.private_prefix.len()..],
            false => channel,
        };
        let split = Some(&*self.boundary).filter(|boundary| !boundary.is_empty());
        match split.and_then(|boundary| public.split_once(boundary)) {
            None => Ok((&self.default, channel)),
            Some(("", rest)) => Ok((&self.default, rest)),
            Some((name, rest)) => {
                self.named.get(name).map(|found| (found, rest)).ok_or(ClientError::UNKNOWN_CHANNEL)
            }
        }
    }
}

impl std::fmt::Debug for Namespaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.named.keys()).finish()
    }
}

/// The users in a channel's name.
pub(super) struct Users<'a> {
    list: &'a str,
    separator: &'a str,
}

impl Users<'_> {
    /// Whether `user` is one of them. The anonymous one never is.
    pub(super) fn contains(&self, user: &str) -> bool {
        if user.is_empty() {
            return false;
        }
        match self.separator {
            "" => self.list == user,
            separator => self.list.split(separator).any(|listed| listed == user),
        }
    }
}
