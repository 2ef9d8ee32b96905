//! `tidegate sub`: what comes in channels, a line each.

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
use std::task::Poll;

use clap::Args;
use futures_util::StreamExt;
use tidegate_client::{
    Client, ClientEvent, Event, Events, Filter, Gap, Overflow, Position, SubscribeError, Subscribed,
    Subscription, Trouble, Why,
};

use super::connect::{Connect, URL};
use super::line;
use crate::{fail, signals};

/// Subscribe to channels and print what comes.
#[derive(Debug, Args)]
#[command(
    after_help = "Publications go to standard output, a line each; with several channels, the channel comes first. \
    States, gaps and troubles go to standard error. With --json each line is an object with channel and data (or \
    b64data, if that is no JSON), and offset, user, tags where there are any; joins, leaves and gaps are then lines of \
    standard output, too.\n\n\
    A lost connection is made again, and what was missed is recovered where the channel keeps history. It ends on \
    Ctrl-C and after --count, with code 0; and with code 1 when the server refuses every channel, or the client.\n\n\
    Examples:\n  \
    tidegate sub news\n  \
    tidegate sub news sports --url wss://example.com/connection/websocket --token \"$(cat token.txt)\"\n  \
    tidegate sub chat:lobby --since 42:mdXp --json | jq .data"
)]
pub(crate) struct Sub {
    /// The channels
    #[arg(required = true, value_name = "CHANNEL")]
    channels: Vec<String>,
    /// The server: ws://, wss:// or quic://
    #[arg(long, default_value = URL)]
    url: String,
    #[command(flatten)]
    connect: Connect,
    /// Subscription token, for a channel that takes one
    #[arg(long, value_name = "TOKEN")]
    channel_token: Option<String>,
    /// Begin behind this position, with what history has since; sub tells one when it ends
    #[arg(long, value_name = "OFFSET:EPOCH")]
    since: Option<Position>,
    /// Ask for recovery of what is missed while the connection is away, where the namespace does not give it unasked
    #[arg(long)]
    recover: bool,
    /// Print joins and leaves, too
    #[arg(long)]
    join_leave: bool,
    /// Take publications as patches where the namespace allows it
    #[arg(long)]
    delta: bool,
    /// Only publications with this tag; may be repeated: all must match
    #[arg(long, value_name = "TAG=VALUE", value_parser = tag)]
    filter: Vec<(String, String)>,
    /// Print objects
    #[arg(long)]
    json: bool,
    /// End after so many publications
    #[arg(long, value_name = "N")]
    count: Option<u64>,
}

/// How it ended.
enum End {
    Stopped,
    Failed(String),
}

/// Runs it.
pub(crate) fn run(sub: &Sub) -> ExitCode {
    // The client has a thread of its own: it answers pings while standard output takes nothing.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(follow(sub))) {
        Ok(End::Stopped) => ExitCode::SUCCESS,
        Ok(End::Failed(error)) => fail(&error),
        Err(error) => fail(&error),
    }
}

async fn follow(sub: &Sub) -> Result<End, Box<dyn Error>> {
    let one = |given: bool, flag: &str| match sub.channels.len() {
        2.. if given => Err(format!("{flag} is given with {} channels; expected one", sub.channels.len())),
        _ => Ok(()),
    };
    one(sub.since.is_some(), "--since")?;
    one(sub.channel_token.is_some(), "--channel-token")?;
    let stop = signals::stop()?;
    let client = sub.connect.builder(&sub.url)?.connect()?;
    let mut events = client.events();
    let mut subscriptions = Vec::new();
    for channel in &sub.channels {
        subscriptions.push(sub.begin(&client, channel)?);
    }
    let ended = tokio::select! {
        ended = sub.print_all(&mut subscriptions, &mut events) => ended,
        () = stop => Ok(End::Stopped),
    };
    for subscription in &subscriptions {
        if let Some(position) = subscription.position() {
            eprintln!("tidegate: {}: read up to {position} (--since)", line::safe(subscription.channel()));
        }
    }
    client.disconnect().await;
    match ended {
        // Nobody reads on, as behind `| head`: that is no failure.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(End::Stopped),
        ended => Ok(ended?),
    }
}

impl Sub {
    fn begin(&self, client: &Client, channel: &str) -> Result<Subscription, Box<dyn Error>> {
        // Read from history again where there is some, and counted where there is none.
        let mut subscribe = client.subscription(channel).overflow(Overflow::Recover);
        if let Some(token) = &self.channel_token {
            subscribe = subscribe.token(token);
        }
        if let Some(since) = &self.since {
            subscribe = subscribe.since(since.clone());
        }
        if self.recover {
            subscribe = subscribe.recoverable();
        }
        if self.join_leave {
            subscribe = subscribe.join_leave();
        }
        if self.delta {
            subscribe = subscribe.delta();
        }
        let tags = self.filter.iter().map(|(tag, value)| Filter::equals(tag, value));
        if let Some(filter) = tags.reduce(Filter::and) {
            subscribe = subscribe.filter(filter);
        }
        // The server may have refused the client already: that is told the same way, whoever is first.
        subscribe.subscribe().map_err(|error| match error {
            SubscribeError::Disconnected(why) => refused(&self.url, &why).into(),
            error => error.into(),
        })
    }

    /// Prints until there is nothing more to come.
    async fn print_all(&self, subscriptions: &mut [Subscription], events: &mut Events) -> io::Result<End> {
        let mut left = subscriptions.len();
        let mut printed = 0;
        let mut turn = 0;
        loop {
            if self.count.is_some_and(|count| printed >= count) {
                return Ok(End::Stopped);
            }
            let (from, event) = tokio::select! {
                biased;
                Some(event) = events.next() => {
                    if let Some(end) = tell(&event, &self.url) {
                        return Ok(End::Failed(end));
                    }
                    continue;
                }
                next = next(subscriptions, &mut turn) => next,
            };
            let channel = subscriptions[from].channel();
            printed += u64::from(matches!(event, Event::Publication(_)));
            let ended = matches!(event, Event::Unsubscribed(_));
            self.print(channel, event)?;
            left -= usize::from(ended);
            if left == 0 {
                return Ok(End::Failed("there is no subscription left".to_owned()));
            }
        }
    }

    fn print(&self, channel: &str, event: Event) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json
            && let Some(object) = line::object(channel, &event)
        {
            writeln!(out, "{object}")?;
            return out.flush();
        }
        let name = line::safe(channel);
        match event {
            Event::Publication(publication) => {
                if self.channels.len() > 1 {
                    write!(out, "{name}: ")?;
                }
                writeln!(out, "{}", line::safe(&String::from_utf8_lossy(&publication.data)))?;
                return out.flush();
            }
            Event::Join(info) => eprintln!("tidegate: {name}: {} came", line::who(&info)),
            Event::Leave(info) => eprintln!("tidegate: {name}: {} left", line::who(&info)),
            Event::Gap(gap) => tell_gap(&name, &gap),
            Event::Subscribing(why) if why.code > 0 => {
                eprintln!("tidegate: {name}: subscribing again: {}", line::safe(&why.to_string()));
            }
            Event::Subscribed(how) => eprintln!("tidegate: {name}: subscribed{}", manner(&how)),
            Event::Unsubscribed(why) => {
                eprintln!("tidegate: {name}: the server refused: {}", line::safe(&why.to_string()));
            }
            _ => {}
        }
        Ok(())
    }
}

/// The next event of any subscription, each in turn.
async fn next(subscriptions: &mut [Subscription], turn: &mut usize) -> (usize, Event) {
    std::future::poll_fn(|cx| {
        let count = subscriptions.len();
        for at in (0..count).map(|i| (*turn + i) % count) {
            if let Poll::Ready(Some(event)) = subscriptions[at].poll_next_unpin(cx) {
                *turn = at + 1;
                return Poll::Ready((at, event));
            }
        }
        Poll::Pending
    })
    .await
}

/// Tells what happens to the client. Returns why it is over, if it is.
fn tell(event: &ClientEvent, url: &str) -> Option<String> {
    match event {
        ClientEvent::Connected(connected) => {
            eprintln!("tidegate: connected to {url} as {}", line::safe(&connected.client));
        }
        ClientEvent::Connecting(why) if why.code > 0 => {
            eprintln!("tidegate: connecting again: {}", line::safe(&why.to_string()));
        }
        // A subscription that is refused tells it itself.
        ClientEvent::Trouble(Trouble::Connect(what)) => {
            eprintln!("tidegate: {url}: connecting failed: {}; trying again", line::safe(what));
        }
        ClientEvent::Trouble(trouble) => {
            eprintln!("tidegate: {}; trying again", line::safe(&trouble.to_string()));
        }
        ClientEvent::Health(health) => {
            eprintln!("tidegate: the server is {}", line::safe(&health.to_string()))
        }
        ClientEvent::Disconnected(why) => return Some(refused(url, why)),
        _ => {}
    }
    None
}

fn refused(url: &str, why: &Why) -> String {
    format!("{url}: the server refused: {why}")
}

fn tell_gap(name: &str, gap: &Gap) {
    eprintln!("tidegate: {name}: {}", line::safe(&gap.to_string()));
}

fn manner(how: &Subscribed) -> String {
    match (&how.position, how.was_recovering, how.recovered) {
        (_, _, true) => ", and what was missed comes now".to_owned(),
        (Some(position), ..) => format!(" at {}", line::safe(&position.to_string())),
        (None, ..) => String::new(),
    }
}

fn tag(text: &str) -> Result<(String, String), String> {
    let (tag, value) = text.split_once('=').ok_or("expected TAG=VALUE")?;
    Ok((tag.to_owned(), value.to_owned()))
}
