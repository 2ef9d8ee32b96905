mod connect;
mod line;
pub(crate) mod publish;
pub(crate) mod sub;
mod token;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use publish::Pub;
pub(crate) use sub::Sub;
pub(crate) use token::{Check, Make, Token, TokenCommand};

/// The command line of the binary. Flags named after configuration keys are taken out before.
#[derive(Debug, Parser)]
#[command(
    name = "tidegate",
    version = env!("BUILT_FROM"),
    about = "A real-time subscription server that no slow, broken or hostile client can hurt",
    after_help = "Every configuration key is a flag as well (--client.connection_limit 1000) and an \
                  environment variable (TIDEGATE_CLIENT_CONNECTION_LIMIT=1000); `tidegate config default` \
                  lists them. Flags go before variables, variables before the file."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

/// What the binary does.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve clients (the default command)
    Serve(Serve),
    /// Subscribe to channels of a server and print what comes
    Sub(Box<Sub>),
    /// Publish to a channel of a server
    Pub(Box<Pub>),
    /// Look at configuration, or make one
    #[command(subcommand)]
    Config(Config),
    /// Make a token to connect or to subscribe with, or explain one (token check)
    // The other names are those of v6.
    #[command(aliases = ["gentoken", "gensubtoken"])]
    Token(Box<Token>),
    /// Make a short-lived certificate for QUIC and WebTransport in development
    Cert(Cert),
    /// Explain a token
    #[command(name = "checktoken", alias = "checksubtoken", hide = true)]
    CheckToken(Check),
    /// Put a server under load, check every delivery, and say what it cost
    Bench(Box<tidegate_bench::Options>),
    /// Say whether a file is good
    #[command(name = "checkconfig", hide = true)]
    CheckConfig(File),
    /// Make a configuration with secrets of its own
    #[command(name = "genconfig", hide = true)]
    NewConfig(File),
    /// Print every key with its default
    #[command(name = "defaultconfig", hide = true)]
    DefaultConfig,
    /// Print every variable with its default
    #[command(name = "defaultenv", hide = true)]
    DefaultEnvironment,
    /// Print the version
    #[command(hide = true)]
    Version,
}

/// A file, as v6 names it.
#[derive(Debug, Args)]
pub(crate) struct File {
    /// The file
    #[arg(short, long, value_name = "FILE", default_value = "config.json")]
    pub(crate) config: PathBuf,
}

/// How to serve.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Serve {
    /// Configuration file: .toml, .yaml or .json
    #[arg(short, long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Development mode: anybody may do anything. Never in production
    #[arg(long)]
    pub(crate) dev: bool,
    /// TCP port [short for --http_server.port]
    #[arg(short, long, value_name = "PORT")]
    pub(crate) port: Option<String>,
    /// Interface [short for --http_server.address]
    #[arg(short, long, value_name = "ADDRESS")]
    pub(crate) address: Option<String>,
}

/// Make a certificate for development.
#[derive(Debug, Args)]
pub(crate) struct Cert {
    /// Names and addresses beside localhost, 127.0.0.1 and ::1
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Where to write the certificate
    #[arg(long, value_name = "FILE", default_value = "cert.pem")]
    pub(crate) cert: PathBuf,
    /// Where to write its private key
    #[arg(long, value_name = "FILE", default_value = "key.pem")]
    pub(crate) key: PathBuf,
    /// Replace files that are there
    #[arg(long)]
    pub(crate) force: bool,
}

/// What to do with configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say whether a file is good, and what in it has no effect
    Check {
        /// The file
        file: PathBuf,
    },
    /// Make a file with secrets of its own, for a server that nobody can use yet but with them
    New {
        /// The file, which must not be there yet: .toml, .yaml or .json
        file: PathBuf,
    },
    /// Print every key with its default and meaning
    Default {
        /// In which form
        #[arg(long, value_enum, default_value_t = Form::Toml)]
        format: Form,
    },
}

/// A form of configuration files.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Form {
    /// TOML
    Toml,
    /// YAML
    Yaml,
    /// JSON
    Json,
    /// Variables of the environment, as shells read them
    Env,
}

impl Cli {
    /// The command that was given, or to serve.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}
