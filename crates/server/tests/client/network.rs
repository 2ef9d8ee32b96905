//! A network between client and server that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Carries bytes between whoever connects and a server. Dropped, it cuts everything.
pub(crate) struct Network {
    pub(crate) address: SocketAddr,
    /// How often it was cut; and whether anything gets through.
    state: watch::Sender<(usize, bool)>,
    connections: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Network {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (state, watched) = watch::channel((0, true));
        let connections = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        tasks.spawn(carry(listener, server, watched, connections.clone()));
        Self { address, state, connections, _tasks: tasks }
    }

    /// Cuts all connections; new ones get through.
    pub(crate) fn cut(&self) {
        self.state.send_modify(|(cuts, _)| *cuts += 1);
    }

    /// Cuts all connections, and lets none through until [`mend`](Self::mend).
    pub(crate) fn down(&self) {
        self.state.send_modify(|(cuts, up)| (*cuts, *up) = (*cuts + 1, false));
    }

    pub(crate) fn mend(&self) {
        self.state.send_modify(|(_, up)| *up = true);
    }

    /// Connections that were made so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn carry(
    listener: TcpListener,
    server: SocketAddr,
    state: watch::Receiver<(usize, bool)>,
    connections: Arc<AtomicUsize>,
) {
    let mut carried = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::Relaxed);
        let mut state = state.clone();
        let (cuts, up) = *state.borrow_and_update();
        if !up {
            continue;
        }
        carried.spawn(async move {
            let Ok(mut server) = TcpStream::connect(server).await else { return };
            tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => {}
                _ = state.wait_for(|(now, _)| *now > cuts) => {
                    // A reset, as networks do it, and not an orderly end.
                    let _ = client.set_zero_linger();
                }
            }
        });
    }
}
