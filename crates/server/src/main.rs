//! The `tidegate` binary: reads the configuration, assembles the server from it, and runs it.

mod cert;
mod cli;
mod clients;
mod log;
mod node;
mod ports;
mod quic;
mod reload;
mod signals;
mod storage;
mod tokens;

use std::io::Write;
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
    let cli = Cli::parse_from(program.chain(arguments.rest));
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
        Command::Config(Config::Check { file }) => match config::check(&file) {
            Ok(warnings) => {
                for warning in &warnings {
                    println!("warning: {warning}");
                }
                println!("{}: good, {} warnings", file.display(), warnings.len());
                ExitCode::SUCCESS
            }
            Err(errors) => fail(&errors),
        },
        Command::Config(Config::Default { format }) => {
            let format = match format {
                Form::Toml => config::Format::Toml,
                Form::Yaml => config::Format::Yaml,
                Form::Json => config::Format::Json,
            };
            // Nobody reads on, as behind `| head`: that is no failure.
            let _ = std::io::stdout().write_all(config::print_default(format).as_bytes());
            ExitCode::SUCCESS
        }
    }
}

fn run(serve: &Serve, mut flags: Vec<(String, String)>) -> ExitCode {
    for (key, value) in [("http_server.port", &serve.port), ("http_server.address", &serve.address)] {
        flags.extend(value.clone().map(|value| (key.to_owned(), value)));
    }
    let sources =
        config::Sources { file: serve.config.clone(), environment: std::env::vars().collect(), flags };
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
