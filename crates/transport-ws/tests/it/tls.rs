use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tidegate_core::Disconnect;
use tidegate_transport_ws::{Options, WebSocket};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};
use tower_service::Service;

use crate::support::{Driver, request, upgrade, within};

type Client = WebSocketStream<tokio_rustls::client::TlsStream<TcpStream>>;

/// Both ends of a WebSocket over TLS, which began as a request to a router.
async fn pair() -> (WebSocket, Client) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("they belong together");
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(roots)
        .with_no_client_auth();

    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (tx, mut accepted) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, peer) = listener.accept().await.expect("a client");
        let stream = TlsAcceptor::from(Arc::new(server)).accept(stream).await.expect("a TLS client");
        let router: Router =
            Router::new().route("/ws", axum::routing::any(upgrade)).with_state((Options::default(), tx));
        let service =
            hyper::service::service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
                request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer));
                router.clone().call(request)
            });
        http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades().await
    });
    let stream = TcpStream::connect(address).await.expect("listening");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream =
        TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("a good certificate");
    let (client, _) = client_async(request(address, &[]), stream).await.expect("a WebSocket");
    let (ws, _) = accepted.recv().await.expect("running").expect("a WebSocket");
    (ws, client)
}

#[tokio::test]
async fn a_websocket_over_tls_is_served_without_what_served_http() {
    let (ws, _client) = pair().await;
    // The socket below TLS is known, and so it was set up.
    assert!(format!("{ws:?}").contains("127.0.0.1"), "{ws:?}");
}

#[tokio::test]
async fn messages_of_every_size_come_back_over_tls() {
    let (ws, mut client) = pair().await;
    let driver = Driver::new(ws);
    let handle = driver.handle();
    let serving = tokio::spawn(driver.echo());
    // Around a TLS record, and around what is copied at a time.
    for size in [1, 125, 126, 16_000, 16_384, 16_385, 40_000, 65_535] {
        let message = "x".repeat(size);
        client.send(Message::text(message.clone())).await.expect("open");
        let Some(Ok(Message::Text(echo))) = within(client.next()).await else { panic!("an echo of {size}") };
        assert!(echo.as_str() == message, "{size}");
    }
    handle.close(Disconnect::new(3001, "shutdown")).expect("open");
    let Some(Ok(Message::Close(Some(close)))) = within(client.next()).await else { panic!("a close frame") };
    assert_eq!((u16::from(close.code), &*close.reason), (3001, "shutdown"));
    // TLS ends in order, too: nothing is cut off.
    assert!(within(client.next()).await.is_none());
    assert_eq!(within(serving).await.expect("no panic").0.code, 3001);
}
