//! The `tidegate` binary: reads the configuration, assembles the server from it, and runs it.

mod cert;
mod cli;
mod clients;
mod fresh;
mod log;
mod node;
mod ports;
mod quic;
mod reload;
mod signals;
mod storage;
mod tokens;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use tidegate_server::config;

use cli::{Cli, Command, Config, Form, Serve, Token, TokenCommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = match config::split(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(errors) => return fail(&errors),
    };
    let program = std::iter::once("tidegate".into());
    let cli = match Cli::try_parse_from(program.chain(arguments.rest)) {
        Ok(cli) => cli,
        Err(error) => return unparsed(&error),
    };
    match cli.command() {
        Command::Serve(serve) => run(&serve, arguments.settings),
        Command::Sub(sub) => cli::sub::run(&sub),
        Command::Pub(publish) => cli::publish::run(&publish),
        Command::Token(token) => match *token {
            Token { command: Some(TokenCommand::Check(check)), .. } => {
                tokens::check(check, arguments.settings)
            }
            Token { make, .. } => tokens::make(&make, arguments.settings),
        },
        Command::Cert(cert) => cert::run(&cert),
        Command::CheckToken(check) => tokens::check(check, arguments.settings),
        Command::Bench(bench) => bench.run(),
        Command::Config(Config::Check { file }) | Command::CheckConfig(cli::File { config: file }) => {
            check(&file)
        }
        Command::Config(Config::New { file }) | Command::NewConfig(cli::File { config: file }) => {
            match fresh::write(&file) {
                Ok(()) => {
                    say(format_args!("{}: made, with secrets that nobody else has", file.display()));
                    ExitCode::SUCCESS
                }
                Err(error) => fail(&error),
            }
        }
        Command::Config(Config::Default { format }) => print_default(format),
        Command::DefaultConfig => print_default(Form::Json),
        Command::DefaultEnvironment => print_default(Form::Env),
        Command::Version => {
            say(format_args!("tidegate {}", env!("BUILT_FROM")));
            ExitCode::SUCCESS
        }
    }
}

/// Says what is wrong with a file, or would be at a start.
fn check(file: &Path) -> ExitCode {
    let loaded = match config::load_file(file) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(&errors),
    };
    if let Err(error) = node::examine(&loaded.config) {
        return fail(&*error);
    }
    for warning in &loaded.warnings {
        say(format_args!("warning: {warning}"));
    }
    say(format_args!("{}: good, {} warnings", file.display(), loaded.warnings.len()));
    ExitCode::SUCCESS
}

/// Prints a line. Nobody reads it, as behind `| head`: that is no failure.
fn say(line: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn print_default(form: Form) -> ExitCode {
    let text = match form {
        Form::Toml => config::print_default(config::Format::Toml),
        Form::Yaml => config::print_default(config::Format::Yaml),
        Form::Json => config::print_default(config::Format::Json),
        Form::Env => config::print_variables(),
    };
    // Nobody reads on, as behind `| head`: that is no failure.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Says what is wrong with the command line, and which key a flag was meant for.
fn unparsed(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if let Some(clap::error::ContextValue::String(flag)) = error.get(clap::error::ContextKind::InvalidArg)
        && let Some(key) = flag.strip_prefix("--").and_then(config::meant)
    {
        eprintln!("\nEvery configuration key is a flag: did you mean --{key}?");
    }
    if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
}

fn run(serve: &Serve, mut flags: Vec<(String, String)>) -> ExitCode {
    for (key, value) in [("http_server.port", &serve.port), ("http_server.address", &serve.address)] {
        flags.extend(value.clone().map(|value| (key.to_owned(), value)));
    }
    let sources = config::Sources { file: serve.config.clone(), environment: config::environment(), flags };
    let loaded = match config::load(&sources) {
        Ok(loaded) => loaded,
        Err(errors) => return fail(&errors),
    };
    match node::run(loaded, sources, serve.dev) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("tidegate: {error}");
    ExitCode::FAILURE
}
