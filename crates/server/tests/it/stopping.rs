//! In which order a server stops.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, OnceLock};

use tidegate_server::http::Metrics;
use tidegate_server::transport_ws::Options;
use tokio::io::AsyncWriteExt;

use crate::late::Late;
use crate::port::{Port, ask, connect, text, upgrade};
use crate::site::Rules;

/// The broker is the last that anything is asked of: nobody comes in any more when it is closed, and nobody is
/// left. What it counts then is still counted.
#[tokio::test]
async fn listeners_end_before_the_broker_and_the_metrics_last() {
    let metrics = Metrics::install().unwrap();
    let open = Arc::new(OnceLock::new());
    let closed = Arc::new(Mutex::new(Vec::new()));
    let closing = {
        let (open, closed) = (open.clone(), closed.clone());
        move || {
            let (addresses, handle): &([_; 2], tidegate_server::Handle) = open.get().expect("a server");
            let listening = addresses.iter().filter(|address| TcpStream::connect(address).is_ok()).count();
            closed.lock().unwrap().push((
                listening,
                handle.hub().registry().len(),
                handle.admit(None).is_ok(),
            ));
        }
    };
    let port = Port::open(Rules::default(), Options::default(), |b| b.broker(Late::new(1).closing(closing)));
    let handle = port.handle.clone();
    assert!(open.set((port.mounts(), handle.clone())).is_ok());
    // One that reads and never closes: it has a second.
    let mut staying = upgrade(port.http).await.unwrap();
    staying.write_all(&text(r#"{"id":1,"connect":{"token":"ada"}}"#)).await.unwrap();
    let mut asking = connect(port.http).await;
    let health = "GET /health HTTP/1.1\r\nHost: a\r\n\r\n";
    assert!(ask(&mut asking, health).await.starts_with("HTTP/1.1 200"));
    let address = port.http;
    let closing = tokio::spawn(port.close());
    while handle.ready().await.is_ok() {
        tokio::task::yield_now().await;
    }
    // While clients go, operators are still answered.
    assert!(ask(&mut connect(address).await, health).await.starts_with("HTTP/1.1 200"));
    assert_eq!(*closed.lock().unwrap(), []);
    closing.await.unwrap();
    assert_eq!(*closed.lock().unwrap(), [(0, 0, false)]);
    assert!(metrics.render(&handle).contains("tidegate_closes_total"));
}
