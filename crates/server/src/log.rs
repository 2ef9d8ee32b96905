//! What the process logs, and where to.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tidegate_server::config::{self, LogFormat};
use tidegate_server::panics;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, fmt, reload};

use crate::node::Failure;

/// The log of the process, whose level can be changed and whose file can be moved away.
pub(crate) struct Log {
    filter: reload::Handle<EnvFilter, Registry>,
    file: Option<(PathBuf, Arc<ArcSwap<File>>)>,
}

impl Log {
    /// Logs from now on.
    ///
    /// # Errors
    /// The file cannot be opened, or `RUST_LOG` is wrong.
    pub(crate) fn start(options: &config::Log) -> Result<Self, Failure> {
        let (filter, handle) = reload::Layer::new(filter(options)?);
        let file = match &options.file {
            None => None,
            Some(path) => Some((path.clone(), Arc::new(ArcSwap::from_pointee(open(path)?)))),
        };
        let writer = match &file {
            None => BoxMakeWriter::new(io::stderr),
            Some((_, file)) => {
                let file = file.clone();
                BoxMakeWriter::new(move || file.load_full())
            }
        };
        // Nobody may read it any more, and to say so in the same place would be a panic.
        let layer = fmt::layer().with_writer(writer).log_internal_errors(false);
        let layer = match options.format {
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
            // Colours are for terminals: files, journals and collectors take them for text.
            LogFormat::Text if file.is_some() || !io::stderr().is_terminal() => {
                layer.with_ansi(false).boxed()
            }
            LogFormat::Text => layer.boxed(),
        };
        tracing_subscriber::registry().with(filter).with(layer).try_init()?;
        panics::log();
        Ok(Self { filter: handle, file })
    }

    /// Logs by `filter` from now on, and into a new file where the old one was moved away.
    ///
    /// # Errors
    /// The file cannot be opened: the old one is written to still.
    pub(crate) fn again(&self, filter: EnvFilter) -> Result<(), Failure> {
        self.filter.reload(filter)?;
        if let Some((path, file)) = &self.file {
            file.store(Arc::new(open(path)?));
        }
        Ok(())
    }
}

/// The library that speaks HTTP/3. It logs whatever a client sends that it does not know, a line for two bytes, and at
/// `debug` headers and queries, which hold tokens. What matters to operators of its failures the server says itself.
const HTTP3: &str = "web_transport_quinn";

/// What is logged: `log.level`, and what the variable `RUST_LOG` says otherwise; of HTTP/3's
/// library nothing, unless that variable names it.
///
/// # Errors
/// `RUST_LOG` is wrong.
pub(crate) fn filter(options: &config::Log) -> Result<EnvFilter, Failure> {
    let filter = EnvFilter::builder().with_default_directive(options.level.directive().parse()?).from_env();
    let filter = filter.map_err(|error| format!("RUST_LOG: {error}"))?;
    if filter.to_string().contains(HTTP3) {
        return Ok(filter);
    }
    Ok(filter.add_directive(format!("{HTTP3}=off").parse()?))
}

fn open(path: &Path) -> Result<File, Failure> {
    let file = OpenOptions::new().create(true).append(true).open(path);
    Ok(file.map_err(|error| format!("log.file is {}: {error}", path.display()))?)
}
