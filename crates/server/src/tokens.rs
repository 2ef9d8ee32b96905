//! `tidegate token`: making tokens, and explaining them.

use std::error::Error;
use std::io::{IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tidegate_server::Rules;
use tidegate_server::config::{self, Config, Sources};
use tidegate_server::token::{NewToken, Report, Signer};

use crate::cli::{Check, Make};
use crate::fail;

type Failure = Box<dyn Error>;
type Flags = Vec<(String, String)>;

/// Prints a token, and nothing else, to standard output.
pub(crate) fn make(make: &Make, flags: Flags) -> ExitCode {
    match made(make, flags) {
        Ok((token, report)) => {
            crate::say(format_args!("{token}"));
            if let Err(why) = report.answer {
                eprintln!("tidegate: a server with this configuration does not accept this token: {why}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error),
    }
}

/// Explains a token; succeeds if a server accepts it.
pub(crate) fn check(check: Check, flags: Flags) -> ExitCode {
    match checked(check, flags) {
        Ok(report) => {
            // Nobody reads on, as behind `| head`: that is no failure.
            let _ = write!(std::io::stdout(), "{report}");
            if report.answer.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => fail(&error),
    }
}

fn made(make: &Make, flags: Flags) -> Result<(String, Report), Failure> {
    let config = load(make.config.clone(), flags)?;
    let own = &config.client.subscription_token;
    let (section, token) = match make.channel.is_some() && own.enabled {
        true => ("client.subscription_token", &own.token),
        false => ("client.token", &config.client.token),
    };
    let signer = signer(make, section, token)?;
    let now = now();
    let ttl = seconds(&make.ttl)?;
    let mut new = NewToken::default();
    new.user = make.user.clone();
    new.channel = make.channel.clone();
    new.client = make.client.clone();
    new.expires = (ttl > 0).then(|| now.saturating_add(ttl));
    new.not_before = make.not_before;
    new.expire_at = make.expire_at;
    new.channels = make.subscribe.clone();
    new.claims = claims(make)?;
    let token = signer.sign(&new.claims(token, now), make.key_id.as_deref())?;
    let report = explain(&config, &token)?;
    Ok((token, report))
}

fn signer(make: &Make, section: &str, token: &config::Token) -> Result<Signer, Failure> {
    let algorithm = make.algorithm.as_deref();
    if let Some(path) = &make.key_file {
        let pem = std::fs::read(path).map_err(|error| format!("--key-file {}: {error}", path.display()))?;
        let signer = Signer::private_key(&pem, algorithm);
        return Ok(signer.map_err(|error| format!("--key-file {}: {error}", path.display()))?);
    }
    if token.hmac_secret_key.is_empty() {
        return Err(format!(
            "there is nothing to sign with: {section}.hmac_secret_key is not set; expected a configuration that has it \
             (--config, or TIDEGATE_{}_HMAC_SECRET_KEY), or a private key (--key-file)",
            section.replace('.', "_").to_ascii_uppercase()
        )
        .into());
    }
    Ok(Signer::secret(token.hmac_secret_key.expose().as_bytes(), algorithm)
        .map_err(|error| format!("{section}.hmac_secret_key: {error}"))?)
}

/// The claims that are given as JSON.
fn claims(make: &Make) -> Result<Map<String, Value>, Failure> {
    let mut claims = Map::new();
    let own = make.claim.iter().map(|claim| {
        claim.split_once('=').ok_or_else(|| format!("--claim is {claim:?}; expected a name, = and JSON"))
    });
    let own = own.collect::<Result<Vec<_>, _>>()?;
    let named = [("info", &make.info), ("data", &make.data), ("meta", &make.meta)];
    let named = named.into_iter().filter_map(|(name, json)| Some((name, json.as_deref()?)));
    for (name, json) in named.chain(own) {
        let value = serde_json::from_str(json).map_err(|error| {
            format!(
                "the claim {name} is {json:?}; expected JSON, such as '{{\"a\":1}}' or '\"text\"' ({error})"
            )
        })?;
        claims.insert(name.to_owned(), value);
    }
    Ok(claims)
}

fn checked(check: Check, flags: Flags) -> Result<Report, Failure> {
    let token = match check.token.filter(|token| token != "-") {
        Some(token) => token,
        None => {
            let mut input = std::io::stdin();
            if input.is_terminal() {
                eprintln!("Paste the token, then end the input (Ctrl-D):");
            }
            let mut text = String::new();
            input.by_ref().take(LONGEST).read_to_string(&mut text)?;
            text
        }
    };
    explain(&load(check.config, flags)?, token.trim())
}

fn explain(config: &Config, token: &str) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(Rules::new(config)?.explain(token)))
}

fn load(file: Option<PathBuf>, flags: Flags) -> Result<Config, Failure> {
    let sources = Sources { file, environment: config::environment(), flags };
    Ok(config::load(&sources)?.config)
}

/// A length of time in seconds: a number of them, or as the configuration writes it.
fn seconds(text: &str) -> Result<i64, Failure> {
    let number = text.parse::<u32>().ok().map(i64::from);
    let duration = || config::parse_duration(text).and_then(|time| i64::try_from(time.as_secs()).ok());
    number
        .or_else(duration)
        .ok_or_else(|| format!("--ttl is {text:?}; expected a time such as 1h30m or 45s, or seconds").into())
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// Longest token that is read, in bytes. 1 MiB: a server takes none over 64 KiB.
const LONGEST: u64 = 1 << 20;
