//! TLS over a socket.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

async fn pair() -> (Io, tokio_rustls::client::TlsStream<TcpStream>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(ring::default_provider());
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
    let far = async {
        let (stream, _) = listener.accept().await.expect("a client");
        TlsAcceptor::from(Arc::new(server)).accept(stream).await.expect("a TLS client")
    };
    let near = async {
        let stream = TcpStream::connect(address).await.expect("listening");
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(client)).connect(name, stream).await.expect("a good certificate")
    };
    let (far, near) = tokio::join!(far, near);
    (far.into(), near)
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn the_socket_below_is_set_up() {
    let (io, _client) = pair().await;
    let Kind::Tls(staged) = &io.0 else { panic!("TLS") };
    let socket = SockRef::from(staged.stream.get_ref().0);
    assert_ne!(socket.tcp_notsent_lowat().expect("Linux"), 64 * 1024);
    io.tune(&Options::default());
    assert_eq!(socket.tcp_notsent_lowat().expect("Linux"), 64 * 1024);
    assert!(staged.stream.get_ref().0.nodelay().expect("an option"));
}

#[tokio::test]
async fn a_reader_that_stalls_is_sent_little_and_gets_it_all_later() {
    let (mut io, mut client) = pair().await;
    io.tune(&Options::default());
    let (batch, bytes) = batch(&[5000, 5000, 1 << 20]);
    let taken = fill(&mut io, &batch);
    assert!(taken < 1 << 20, "{taken} bytes were taken");
    {
        let Kind::Tls(staged) = &io.0 else { panic!("TLS") };
        assert!(staged.buffer.len() <= STAGED);
        assert!(staged.stream.get_ref().1.wants_write(), "what is encrypted waits for the socket");
    }
    let mut cx = Context::from_waker(Waker::noop());
    assert!(io.poll_writable(&mut cx).is_pending());

    let mut read = vec![0; taken];
    let (all, written) = tokio::join!(client.read_exact(&mut read), poll_fn(|cx| io.poll_writable(cx)));
    all.expect("open");
    written.expect("open");
    // Each write began the batch again, and took a staged piece of it.
    assert!(read.chunks(STAGED).all(|piece| *piece == bytes[..piece.len()]));
    let Kind::Tls(staged) = &io.0 else { panic!("TLS") };
    assert_eq!((staged.buffer.capacity(), staged.unflushed), (0, false));
}
