//! Accepting connections of an HTTP port, and serving the requests on them.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::ConnectInfo;
use hyper::body::{Frame, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_transport_ws::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::places::{Asking, Crowded, Place, Places};
use super::{Port, Routes, Tls};
use crate::app::App;
use crate::ranks::Newcomer;
use crate::time::now;
use crate::workers::MAIN;

/// Most bytes of a request's headers, and of what is buffered of its body.
const BUFFER: usize = 16 * 1024;
/// Bytes that the kernel takes beyond what the network has taken. 64 KiB: a whole write. With less, writes to who
/// reads slowly are cut in pieces, which cost twice the CPU per delivery; with more, control waits longer behind data.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NOT_SENT: u32 = 64 * 1024;
/// How long a request may still take when everything else has stopped, and a stream whose client has ended. 1 s: one that comes byte by byte must
/// not keep the server.
const GRACE: Duration = Duration::from_secs(1);
/// Connections accepted before other tasks have their turn. 16: serving them so far takes about a millisecond.
const ACCEPTS: usize = 16;
/// What a connection counts for, and each request of it, beside what clients ask for: that takes one or two
/// microseconds each.
const WORK: usize = 32;
/// What those are told for whom there is no place. To come again after a second: who is silent has gone by then.
const NO_PLACE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A connection of the port, for an answer that goes on as long as a client's connection does.
#[derive(Clone)]
pub(crate) struct Hold {
    place: Arc<Place>,
    over: CancellationToken,
}

impl Hold {
    /// Leaves the places: it counts as a client now.
    pub(super) fn leave(&self) {
        self.place.leave();
    }

    /// Ends the connection, once what was given to it is out or a second has gone by.
    pub(super) fn end(&self) {
        self.over.cancel();
    }
}

/// What the connections of a port share.
#[derive(Clone)]
struct Shared {
    tls: Option<Arc<Tls>>,
    routes: Routes,
    places: Arc<Places>,
    stop: CancellationToken,
    app: Arc<App>,
}

/// Serves `routes` on `port` until told to stop, and returns when the last request is answered.
pub(crate) async fn serve(port: Port, routes: Routes, app: Arc<App>, stop: CancellationToken) {
    let Port { listener, tls } = port;
    let places = Places::new(app.settings().http.clone());
    let shared = Shared { tls, routes, places: places.clone(), stop: stop.clone(), app: app.clone() };
    let tasks = TaskTracker::new();
    let mut acceptor = Acceptor::new(listener);
    let mut accepted = 0;
    loop {
        let (stream, address) = tokio::select! {
            accepted = acceptor.accept() => accepted,
            () = stop.cancelled() => break,
        };
        accepted += 1;
        app.hub.worked(MAIN, WORK);
        if accepted % ACCEPTS == 0 {
            // A fleet that comes back at once is let in at the pace at which it is served: whoever is there
            // already has a turn between two of its ranks.
            app.workers.all_others().await;
        }
        match enter(&places, &app, address.ip()).await {
            Ok(place) => {
                tasks.spawn(connection(stream, address, place, shared.clone()));
            }
            Err(_) => {
                app.meters.refused("http_connection_limit");
                // No task for it, and no waiting: what the socket does not take at once, the peer does not get.
                // Over TLS there is nothing to say before the handshake.
                if shared.tls.is_none() {
                    let _ = socket2::SockRef::from(&stream).send(NO_PLACE);
                }
            }
        }
    }
    drop(acceptor);
    tasks.close();
    tasks.wait().await;
}

/// A place for a connection that has come, perhaps that of another.
async fn enter(places: &Arc<Places>, app: &App, address: IpAddr) -> Result<Arc<Place>, Crowded> {
    // Half of what clients leave: there may be another port.
    let spare = app.admission.spare_descriptors() / 2;
    let entered = match places.enter(address, now(), spare, false) {
        Err(Crowded::Hasty) => {
            // Many come at once, and accepting runs ahead. The requests of those who have come already are
            // looked at first: once for the runtime to hear of them, once for their tasks to read them.
            yield_now().await;
            yield_now().await;
            places.enter(address, now(), spare, true)
        }
        entered => entered,
    };
    let (place, at_anothers_cost) = entered?;
    if at_anothers_cost {
        // The other's task lets go of its descriptor before one more is taken.
        yield_now().await;
    }
    Ok(Arc::new(place))
}

/// Serves one connection, after its TLS handshake where the port has TLS: until that it counts as silent.
async fn connection(stream: TcpStream, address: SocketAddr, place: Arc<Place>, shared: Shared) {
    // What is written goes out at once: it was put together before.
    let _ = stream.set_nodelay(true);
    // A stream that is not read shows early. Not inherited from the port's socket: who came before it was set up
    // would go without.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(NOT_SENT);
    let idle_timeout = shared.places.idle_timeout();
    tokio::select! {
        biased;
        ready = stream.readable() => if ready.is_err() { return },
        () = place.given_up() => {
            tracing::debug!(%address, "http: silent, and given up for another connection");
            return;
        }
        () = shared.stop.cancelled() => return,
        () = tokio::time::sleep(idle_timeout) => return,
    }
    Newcomer::new(shared.app.workers.main().clone()).turn().await;
    // Boxed, like all that follows: a peer that says nothing costs neither buffers nor room for them.
    let Some(tls) = shared.tls.clone() else {
        return Box::pin(requests(stream, address, place, shared)).await;
    };
    let shaken = tokio::select! {
        shaken = Box::pin(tls.shake_hands(stream, idle_timeout)) => shaken,
        () = place.given_up() => {
            tracing::debug!(%address, "TLS handshake given up for another connection");
            return;
        }
        () = shared.stop.cancelled() => return,
    };
    match shaken {
        Ok(stream) => Box::pin(requests(stream, address, place, shared)).await,
        Err(error) => {
            metrics::counter!("tidegate_refused_total", "cause" => "tls").increment(1);
            tracing::debug!(%error, %address, "TLS handshake failed");
        }
    }
}

/// Serves the requests of one connection; one that is upgraded goes on in a task of its own.
async fn requests<S>(stream: S, address: SocketAddr, place: Arc<Place>, shared: Shared)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Shared { routes, places, stop, app, .. } = shared;
    let idle_timeout = places.idle_timeout();
    let asker = place.clone();
    let over = CancellationToken::new();
    let hold = Hold { place: place.clone(), over: over.clone() };
    let service = hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        let asking = asker.ask();
        app.hub.worked(MAIN, WORK);
        let client = places.trusted().client(address, request.headers());
        request.extensions_mut().insert(ConnectInfo(client));
        request.extensions_mut().insert(hold.clone());
        let answer = routes.current().call(request);
        async move {
            let answer = answer.await?;
            Ok::<_, std::convert::Infallible>(answer.map(|body| Answer { body, _asking: asking }))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle_timeout).max_buf_size(BUFFER);
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let done = tokio::select! {
        done = connection.as_mut() => done,
        () = place.given_up() => {
            tracing::debug!(%address, "http: given up for another connection");
            return;
        }
        () = over.cancelled() => match tokio::time::timeout(GRACE, connection).await {
            Ok(done) => done,
            Err(_) => return tracing::debug!(%address, "http: a stream was cut off"),
        },
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(GRACE, connection).await {
                Ok(done) => done,
                Err(_) => return tracing::debug!(%address, "http: a request was cut off"),
            }
        }
    };
    if let Err(error) = done {
        tracing::debug!(%error, %address, "http");
    }
}

/// The body of an answer: the request is under way until it is out.
struct Answer {
    body: Body,
    _asking: Asking,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
