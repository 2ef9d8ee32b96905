//! What every scenario begins with: a target, threads, and connections.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::Error;
use crate::connection::Connection;
use crate::crew::{Crew, Worker};
use crate::options::{Common, Encoding};
use crate::process::{Memory, Server};
use crate::progress::Progress;
use crate::protocol::Dialect;
use crate::report::Setup;
use crate::shared::Shared;
use crate::target::{self, Target};
use crate::transport::{Carrier, Socket, Transport};

/// A run's surroundings.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) target: Target,
    pub(crate) server: Server,
    pub(crate) shared: Arc<Shared>,
    pub(crate) crew: Crew,
    pub(crate) progress: Progress,
    connecting: usize,
    url: String,
    prefix: String,
}

impl World {
    /// Without a connection yet. `size` is that of payloads.
    pub(crate) fn new(common: &Common, dialect: Option<Dialect>, size: usize) -> Result<Self, Error> {
        // Two for each connection would be enough. Where it cannot be raised, connecting will say so.
        drop(rlimit::increase_nofile_limit(u64::MAX));
        let schemes: &[_] = match common.transport() {
            Transport::Websocket => &["ws", "wss"],
            Transport::Quic if dialect.is_some() => {
                return Err(Error::Options("--transport quic: only Tidegate has it".into()));
            }
            Transport::Quic => &["quic"],
        };
        let address = target::address(common.url(), schemes)?;
        let carrier = Carrier::new(&address, &common.trust, common.protocol)?;
        let dialect = dialect.unwrap_or(match common.protocol {
            Encoding::Json => Dialect::JSON,
            Encoding::Protobuf => Dialect::PROTOBUF,
        });
        let target = Target {
            address: address.socket,
            host: address.host,
            path: address.path,
            dialect,
            carrier,
            token: common.token.clone(),
            sources: common.sources,
            timeout: common.timeout,
            run: target::run(),
        };
        let shared = Arc::new(Shared::new(size));
        Ok(Self {
            target,
            server: Server::find(&common.server_pid)?,
            crew: Crew::new(usize::from(common.threads), &shared)?,
            shared,
            progress: Progress::new(common.quiet),
            connecting: common.connecting,
            url: common.url().to_owned(),
            prefix: common.prefix.clone(),
        })
    }

    /// What the report says of it.
    pub(crate) fn setup(&self, clients: usize, channels: usize) -> Setup {
        let (protocol, url, threads) = (self.target.dialect.name, self.url.clone(), self.crew.threads());
        Setup { protocol, url, clients, channels, threads }
    }

    /// The name of a channel of this run.
    pub(crate) fn channel(&self, number: usize) -> String {
        channel(&self.prefix, &self.target.run, number)
    }

    /// The server's memory now, if it is known which server.
    pub(crate) fn memory(&self) -> Option<Memory> {
        self.server.is_known().then(|| self.server.memory())
    }

    /// How threads of this run connect.
    pub(crate) fn plan(&self, connections: usize, channels: Channels, socket: Socket) -> Plan {
        let each = match channels {
            Channels::OneOf(_) => 1,
            Channels::Same(each) | Channels::Own(each) => each,
        };
        let carrier = self.target.carrier.clone().subscribing(each);
        Plan {
            target: Target { carrier, ..self.target.clone() },
            prefix: self.prefix.clone(),
            first: 0,
            connections,
            channels,
            socket,
            threads: self.crew.threads(),
            connecting: self.connecting.div_ceil(self.crew.threads()),
        }
    }
}

/// Which channels a connection subscribes to.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Channels {
    /// One of so many, in turn.
    OneOf(usize),
    /// All of the same.
    Same(usize),
    /// So many of its own.
    Own(usize),
}

/// Which connections to open.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    prefix: String,
    /// The number of the first.
    first: usize,
    connections: usize,
    channels: Channels,
    pub(crate) socket: Socket,
    threads: usize,
    /// At a time, by each thread.
    pub(crate) connecting: usize,
}

impl Plan {
    /// The same with other numbers.
    pub(crate) fn numbered_from(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// The numbers of a thread's connections.
    pub(crate) fn share(&self, thread: usize) -> impl Iterator<Item = usize> + use<> {
        (self.first + thread..self.first + self.connections).step_by(self.threads)
    }

    /// Opens one, with its subscriptions.
    pub(crate) async fn open(&self, number: usize, worker: &Worker) -> Result<Connection, Error> {
        let name = |number| channel(&self.prefix, &self.target.run, number);
        let channels: Vec<String> = match self.channels {
            Channels::OneOf(all) => vec![name(number % all)],
            Channels::Same(each) => (0..each).map(name).collect(),
            Channels::Own(each) => (number * each..(number + 1) * each).map(name).collect(),
        };
        let mut connection = Connection::open(&self.target, number, self.socket, worker).await?;
        if !channels.is_empty() {
            connection.subscribe(&self.target, &channels, worker).await?;
        }
        worker.shared.ready.fetch_add(1, Ordering::Relaxed);
        Ok(connection)
    }

    /// Opens all of a thread's.
    pub(crate) async fn open_all(
        &self,
        thread: usize,
        worker: &Rc<Worker>,
    ) -> Result<Vec<(usize, Connection)>, Error> {
        let open = |number| async move { Ok((number, self.open(number, worker).await?)) };
        stream::iter(self.share(thread)).map(open).buffer_unordered(self.connecting).try_collect().await
    }
}

/// Without a `$`, `#`, `:` or dot of its own: those mean something to some servers.
fn channel(prefix: &str, run: &str, number: usize) -> String {
    format!("{prefix}{run}-{number}")
}
