use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ProtocolVersion, SupportedProtocolVersion};

use super::*;

/// A certificate and its key, as PEM.
struct Pair {
    cert: String,
    key: String,
}

/// An authority, and what it signs.
struct Authority {
    cert: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let cert = params.self_signed(&key).expect("a certificate").pem();
        Self { cert, issuer: Issuer::new(params, key) }
    }

    fn sign(&self, name: &str) -> Pair {
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { cert, key: key.serialize_pem() }
    }
}

fn options(pair: &Pair, client_ca: &str) -> config::Tls {
    let mut options = config::Config::default().http_server.tls;
    options.enabled = true;
    options.cert_pem = pair.cert.clone();
    options.key_pem = pair.key.clone().into();
    options.client_ca_pem = client_ca.to_owned();
    options
}

fn tls(pair: &Pair, client_ca: &str) -> Arc<Tls> {
    Tls::new(Certificate::read("tls", &options(pair, client_ca)).expect("a good certificate"))
}

fn client(
    authority: &Authority,
    own: Option<&Pair>,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.cert.as_bytes()).expect("PEM")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("ring has both")
        .with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let chain = vec![CertificateDer::from_pem_slice(own.cert.as_bytes()).expect("PEM")];
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).expect("PEM");
            builder.with_client_auth_cert(chain, key).expect("they belong together")
        }
    };
    TlsConnector::from(Arc::new(config))
}

type Shaken = (io::Result<tokio_rustls::client::TlsStream<TcpStream>>, io::Result<TlsStream<TcpStream>>);

/// Shakes hands with `name` over a socket.
async fn shake(tls: &Tls, client: &TlsConnector, name: &str) -> Shaken {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let near = async { client.connect(name, TcpStream::connect(address).await.expect("connected")).await };
    let far = async {
        let (stream, _) = listener.accept().await.expect("accepted");
        tls.shake_hands(stream, Duration::from_secs(20)).await
    };
    tokio::join!(near, far)
}

/// What a certificate's texts are read as: nothing, or the complaint.
#[track_caller]
fn check(cert: &str, key: &str, client_ca: &str, expected: &str) {
    let pair = Pair { cert: cert.to_owned(), key: key.to_owned() };
    let said = Certificate::read("tls", &options(&pair, client_ca)).err().map(|error| error.to_string());
    assert_eq!(said.unwrap_or_default(), expected);
}

#[test]
fn a_text_is_a_file_or_pem_or_base64_of_it() {
    let authority = Authority::new();
    let (pair, other) = (authority.sign("localhost"), authority.sign("localhost"));
    let folder = std::env::temp_dir().join(format!("tidegate-tls-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
    let path = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    std::fs::write(path("cert.pem"), &pair.cert).expect("written");
    std::fs::write(path("key.pem"), &pair.key).expect("written");
    std::fs::write(path("empty.pem"), "").expect("written");

    check(&pair.cert, &pair.key, "", "");
    check(&STANDARD.encode(&pair.cert), &STANDARD.encode(&pair.key), &STANDARD.encode(&authority.cert), "");
    check(&path("cert.pem"), &path("key.pem"), &authority.cert, "");

    let missing = "No such file or directory (os error 2); expected a file, PEM, or base64 of PEM";
    check("/nowhere", &pair.key, "", &format!("tls.cert_pem is \"/nowhere\": {missing}"));
    // What is no file may be the key itself.
    check(&pair.cert, "MHcCAQEEIK", "", &format!("tls.key_pem is not shown: {missing}"));
    let folder_text = folder.to_str().expect("text");
    let found =
        format!("tls.cert_pem is {folder_text:?}: not a file; expected a file, PEM, or base64 of PEM");
    check(folder_text, &pair.key, "", &found);
    check(&path("empty.pem"), &pair.key, "", "tls.cert_pem has no certificate in PEM");
    check(&pair.key, &pair.key, "", "tls.cert_pem has no certificate in PEM");
    let no_key = "tls.key_pem has no private key in PEM that is not encrypted (PKCS#8, PKCS#1 or SEC1)";
    check(&pair.cert, &pair.cert, "", no_key);
    check(&pair.cert, &other.key, "", "tls cannot be used: keys may not be consistent: KeyMismatch");
    check(&pair.cert, &pair.key, &pair.key, "tls.client_ca_pem has no certificate in PEM");
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[tokio::test]
async fn tls_1_2_and_1_3_carry_http_1_1() {
    let authority = Authority::new();
    let tls = tls(&authority.sign("localhost"), "");
    for (version, named) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let (near, far) = shake(&tls, &client(&authority, None, &[version]), "localhost").await;
        let (mut near, mut far) = (near.expect("a good certificate"), far.expect("a good client"));
        assert_eq!(near.get_ref().1.protocol_version(), Some(named));
        near.write_all(b"hello").await.expect("written");
        near.flush().await.expect("flushed");
        let mut said = [0; 5];
        far.read_exact(&mut said).await.expect("read");
        assert_eq!(&said, b"hello");
    }
    let mut asks = ClientConfig::clone(client(&authority, None, &[&TLS13]).config());
    asks.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (near, _far) = shake(&tls, &TlsConnector::from(Arc::new(asks)), "localhost").await;
    assert_eq!(near.expect("shaken").get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn a_client_authority_lets_only_its_own_in() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let tls = tls(&authority.sign("localhost"), &clients.cert);
    for version in [&TLS12, &TLS13] {
        let known = clients.sign("device-1");
        let (_, far) = shake(&tls, &client(&authority, Some(&known), &[version]), "localhost").await;
        far.expect("its certificate is good");
        let (_, far) = shake(&tls, &client(&authority, None, &[version]), "localhost").await;
        far.expect_err("it has no certificate");
        let foreign = authority.sign("device-1");
        let (_, far) = shake(&tls, &client(&authority, Some(&foreign), &[version]), "localhost").await;
        far.expect_err("another authority signed it");
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_who_comes_later() {
    let authority = Authority::new();
    let (old, new) = (authority.sign("old.test"), authority.sign("new.test"));
    let tls = tls(&old, "");
    let client = client(&authority, None, &[&TLS13]);
    let (near, far) = shake(&tls, &client, "old.test").await;
    let (mut near, mut far) = (near.expect("the old one"), far.expect("a good client"));

    let read = |pair: &Pair| Certificate::read("tls", &options(pair, "")).expect("a good certificate");
    assert!(!tls.replace(read(&old)), "it is the same");
    assert!(tls.replace(read(&new)), "it is another");
    shake(&tls, &client, "old.test").await.0.expect_err("that one is gone");
    shake(&tls, &client, "new.test").await.0.expect("the new one");

    far.write_all(b"still here").await.expect("written");
    far.flush().await.expect("flushed");
    let mut said = [0; 10];
    near.read_exact(&mut said).await.expect("read");
    assert_eq!(&said, b"still here");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_let_go() {
    let authority = Authority::new();
    let tls = tls(&authority.sign("localhost"), "");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let _silent = TcpStream::connect(listener.local_addr().expect("an address")).await.expect("connected");
    let (stream, _) = listener.accept().await.expect("accepted");
    let error = tls.shake_hands(stream, Duration::from_secs(10)).await.expect_err("nothing came");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
