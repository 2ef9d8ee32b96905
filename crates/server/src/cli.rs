mod token;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    /// Look at configuration
    #[command(subcommand)]
    Config(Config),
    /// Make a token to connect or to subscribe with, or explain one (token check)
    // The other names are those of v6.
    #[command(aliases = ["gentoken", "gensubtoken"])]
    Token(Box<Token>),
    /// Explain a token
    #[command(name = "checktoken", alias = "checksubtoken", hide = true)]
    CheckToken(Check),
    /// Put a server under load, check every delivery, and say what it cost
    Bench(Box<tidegate_bench::Options>),
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

/// What to do with configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    /// Say whether a file is good, and what in it has no effect
    Check {
        /// The file
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
}

impl Cli {
    /// The command that was given, or to serve.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}
