//! Key sets of several issuers: the URL has placeholders for what the token's issuer or audience says.
//!
//! That is read before the token is verified, so it decides who is asked for keys. Unless somebody insists, it may only be
//! one of the values that an expression lists.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use regex_syntax::ast::{self, Ast, GroupKind};

use super::TokenError;
use super::jwks::{self, Jwks};
use crate::rules::RulesError;

/// What the named groups of an issuer's and an audience's expression have matched.
pub(super) type Groups = BTreeMap<String, String>;

/// The key sets at the URLs of one template.
pub(super) struct Sets {
    template: Vec<Part>,
    client: reqwest::Client,
    /// Those asked for so far, the one that was needed last at the end.
    sets: Mutex<Vec<(String, Arc<Jwks>)>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// The name of a group.
    Group(String),
}

impl Sets {
    /// The sets at the URLs that the value of `key` stands for. `expressions` are where its groups are. Fetches nothing yet.
    ///
    /// # Errors
    /// No URL; a placeholder that is no group; unless `any`, a group that matches more than a list of values.
    pub(super) fn new(key: &str, url: &str, expressions: &[&str], any: bool) -> Result<Self, RulesError> {
        let wrong = |expected: String| RulesError::BadValue {
            key: key.to_owned(),
            found: format!("{url:?}"),
            expected,
        };
        let template = template(url).ok_or_else(|| wrong("placeholders such as {{name}}".to_owned()))?;
        for part in &template {
            let Part::Group(name) = part else { continue };
            match expressions.iter().find_map(|expression| is_list(expression, name)) {
                None => return Err(wrong(format!("a group {name:?} in issuer_regex or audience_regex"))),
                Some(false) if !any => {
                    return Err(wrong(format!(
                        "a group {name:?} that matches one of a list of values, such as (?P<{name}>a|b): what comes from a token must not \
                         choose freely who is asked for keys"
                    )));
                }
                Some(_) => {}
            }
        }
        let sets = Self {
            template,
            client: jwks::client()
                .map_err(|_| wrong("a system with certificates of authorities".to_owned()))?,
            sets: Mutex::default(),
        };
        let example = sets.url(&|_| Some("a"));
        let good = example.is_some_and(|url| jwks::parsed(&url).is_some());
        if good { Ok(sets) } else { Err(wrong("a URL that starts with http:// or https://".to_owned())) }
    }

    /// The set of who is meant.
    ///
    /// # Errors
    /// A value is missing, or is not of letters, digits, dots, hyphens and underscores alone.
    pub(super) fn of(&self, groups: &Groups) -> Result<Arc<Jwks>, TokenError> {
        let value = |name: &str| groups.get(name).map(String::as_str).filter(|value| is_plain(value));
        let url = self.url(&value).ok_or(UNKNOWN)?;
        let mut sets = self.sets.lock().unwrap_or_else(PoisonError::into_inner);
        let set = match sets.iter().position(|(known, _)| *known == url) {
            Some(at) => sets.remove(at).1,
            None => {
                let parsed = jwks::parsed(&url).ok_or(UNKNOWN)?;
                if sets.len() >= MAX_SETS {
                    sets.remove(0);
                }
                Arc::new(Jwks::at(parsed, self.client.clone()))
            }
        };
        sets.push((url, set.clone()));
        Ok(set)
    }

    fn url<'a>(&self, value: &dyn Fn(&str) -> Option<&'a str>) -> Option<String> {
        let mut url = String::new();
        for part in &self.template {
            match part {
                Part::Text(text) => url.push_str(text),
                Part::Group(name) => url.push_str(value(name)?),
            }
        }
        Some(url)
    }
}

/// Whether a URL has placeholders.
pub(super) fn has_placeholders(url: &str) -> bool {
    url.contains("{{")
}

fn template(mut url: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while let Some((text, rest)) = url.split_once("{{") {
        let (name, rest) = rest.split_once("}}")?;
        parts.extend([Part::Text(text.to_owned()), Part::Group(name.trim().to_owned())]);
        url = rest;
    }
    parts.push(Part::Text(url.to_owned()));
    Some(parts)
}

/// Whether the group `name` of an expression matches a list of values and nothing else; `None` if there is no such group.
fn is_list(expression: &str, name: &str) -> Option<bool> {
    let parsed = ast::parse::Parser::new().parse(expression).ok()?;
    group(&parsed, name).map(is_literal)
}

fn group<'a>(ast: &'a Ast, name: &str) -> Option<&'a Ast> {
    match ast {
        Ast::Group(found) => match &found.kind {
            GroupKind::CaptureName { name: own, .. } if own.name == name => Some(&found.ast),
            _ => group(&found.ast, name),
        },
        Ast::Repetition(repeated) => group(&repeated.ast, name),
        Ast::Alternation(any) => any.asts.iter().find_map(|ast| group(ast, name)),
        Ast::Concat(all) => all.asts.iter().find_map(|ast| group(ast, name)),
        _ => None,
    }
}

fn is_literal(ast: &Ast) -> bool {
    match ast {
        Ast::Empty(_) | Ast::Literal(_) => true,
        Ast::Group(group) => is_literal(&group.ast),
        Ast::Alternation(any) => any.asts.iter().all(is_literal),
        Ast::Concat(all) => all.asts.iter().all(is_literal),
        _ => false,
    }
}

/// Whether a value stays where it is put in a URL.
fn is_plain(value: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !value.is_empty() && value.bytes().all(plain) && !value.contains("..") && value != "."
}

const UNKNOWN: TokenError = TokenError::Invalid("an issuer or audience that is not known");
/// Sets that are kept; over it the one that was not needed for longest goes. 64: issuers are few, and who makes some up, where that
/// is allowed, costs no more.
const MAX_SETS: usize = 64;
