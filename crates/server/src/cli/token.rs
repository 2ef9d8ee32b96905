use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Make a token, or look at one.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Tokens are signed by the secret of the configuration (client.token.hmac_secret_key, or that of \
                  client.subscription_token for a subscription token where it has keys of its own), or by the private \
                  key of --key-file. Nothing but the token goes to standard output.\n\n\
                  Examples:\n  \
                  tidegate token --config tidegate.toml --user ann --ttl 1h\n  \
                  tidegate token -c tidegate.toml --user ann --channel news --info '{\"name\":\"Ann\"}'\n  \
                  tidegate token -c tidegate.toml --user ann | tidegate token check -c tidegate.toml"
)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: Option<TokenCommand>,
    #[command(flatten)]
    pub(crate) make: Make,
}

/// What else to do with tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Explain a token: what it says, which key it is signed with, and what a server with this configuration answers
    Check(Check),
}

/// Make a token.
#[derive(Debug, Args)]
pub(crate) struct Make {
    /// Configuration file: .toml, .yaml or .json
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The user; none makes a token of the anonymous user
    #[arg(short, long, default_value = "", hide_default_value = true)]
    pub(crate) user: String,
    /// The channel: makes a subscription token, and not a connection token
    #[arg(short = 's', long)]
    pub(crate) channel: Option<String>,
    /// The only connection that may use it, by its id
    #[arg(long, value_name = "ID")]
    pub(crate) client: Option<String>,
    /// How long it is valid: 1h30m, 45s, or a number of seconds; 0 is for ever
    #[arg(short, long, value_name = "TIME", default_value = "168h")]
    pub(crate) ttl: String,
    /// When it begins to be valid, in seconds since 1970 [claim nbf]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) not_before: Option<i64>,
    /// When what it grants expires, in seconds since 1970; 0 is never [default: with the token]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) expire_at: Option<i64>,
    /// What others may know of the client
    #[arg(long, value_name = "JSON")]
    pub(crate) info: Option<String>,
    /// What the client is told with the subscribe reply
    #[arg(long, value_name = "JSON", requires = "channel")]
    pub(crate) data: Option<String>,
    /// The application's own, which no client sees
    #[arg(long, value_name = "JSON")]
    pub(crate) meta: Option<String>,
    /// A channel that the connection is subscribed to by the server; may be repeated
    #[arg(long, value_name = "CHANNEL", conflicts_with = "channel")]
    pub(crate) subscribe: Vec<String>,
    /// Another claim; may be repeated
    #[arg(long, value_name = "NAME=JSON")]
    pub(crate) claim: Vec<String>,
    /// Private key in PEM to sign with, instead of the secret of the configuration
    #[arg(short, long, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Key id in the header, by which a server chooses from a JWKS
    #[arg(long, value_name = "ID")]
    pub(crate) key_id: Option<String>,
    /// Algorithm: HS256, HS384, HS512, RS256, RS384, RS512, ES256, ES384, ES512 or EdDSA [default: the first that the
    /// key is for]
    #[arg(long, value_name = "NAME")]
    pub(crate) algorithm: Option<String>,
    /// Only the token, as always
    #[arg(short, long, hide = true)]
    pub(crate) quiet: bool,
}

/// Explain a token.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Configuration file: .toml, .yaml or .json
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The token; without it, or as -, it is read from standard input, which keeps it out of the shell's history
    pub(crate) token: Option<String>,
}
