use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use tidegate_client::{ClientEvent, Trouble, Trust};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;

use crate::site::{Rules, Site, event, quick};

/// TLS before a server that has none.
async fn terminate(
    server: SocketAddr,
    certified: &CertifiedKey<rcgen::KeyPair>,
    tasks: &mut JoinSet<()>,
) -> SocketAddr {
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            connections.spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    address
}

fn hash(certified: &CertifiedKey<rcgen::KeyPair>) -> String {
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certified.cert.der());
    hash.as_ref()
        .iter()
        .map(|byte| format!("{byte:02X}:"))
        .collect::<String>()
        .trim_end_matches(':')
        .to_owned()
}

#[tokio::test]
async fn certificates_are_trusted_by_authority_or_by_hash_and_no_others() {
    let site = Site::start(Rules::default());
    let certified = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let stranger = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let mut tasks = JoinSet::new();
    let port = terminate(site.address, &certified, &mut tasks).await.port();
    let folder = std::env::temp_dir().join(format!("tidegate-client-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("ca.pem");
    std::fs::write(&file, certified.cert.pem()).unwrap();

    let named = quick(&format!("wss://localhost:{port}/"));
    let by_file = named.clone().trust(Trust::CaFile(file)).connect().unwrap();
    by_file.connected().await.unwrap();
    let by_hash = Trust::certificate_hash(&hash(&certified)).unwrap();
    let by_hash = quick(&format!("wss://127.0.0.1:{port}/")).trust(by_hash).connect().unwrap();
    by_hash.connected().await.unwrap();

    let refused = |event| match event {
        ClientEvent::Trouble(Trouble::Connect(what)) => Some(what),
        _ => None,
    };
    for wrong in [Trust::System, Trust::certificate_hash(&hash(&stranger)).unwrap()] {
        let client = named.clone().trust(wrong).connect().unwrap();
        let what = event(&mut client.events(), refused).await;
        assert!(what.starts_with("TLS: invalid peer certificate"), "{what}");
    }
    std::fs::remove_dir_all(folder).unwrap();
    site.stop().await;
}

#[test]
fn what_is_not_to_be_trusted_is_named() {
    let error = Trust::certificate_hash("abc").unwrap_err();
    assert!(error.to_string().contains("64 hexadecimal digits"), "{error}");
    let missing = Trust::CaFile("/nowhere/ca.pem".into());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(async { quick("wss://localhost").trust(missing).connect() }).unwrap_err();
    assert!(error.to_string().contains("/nowhere/ca.pem"), "{error}");
}
