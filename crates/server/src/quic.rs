//! The UDP port of the binary, for raw QUIC and WebTransport.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tidegate_server::config::Config;
use tidegate_server::http::{self, Certificate};
use tidegate_server::transport_quic::{Options, QuicListener, Renewal, WebTransport};
use tidegate_server::transport_ws::Origins;

use crate::cert;
use crate::clients;
use crate::node::Failure;
use crate::ports::{self, Section};

/// The port, open.
pub(crate) struct Udp {
    pub(crate) listener: QuicListener,
    pub(crate) address: SocketAddr,
    pub(crate) face: Face,
}

/// What of the port can be replaced while it is served.
pub(crate) struct Face {
    /// The section of the configuration that has its certificate; `None`: it was made for development.
    pub(crate) section: Option<Section>,
    certificate: Arc<http::Tls>,
    renewal: Renewal,
    origins: Arc<ArcSwap<Origins>>,
}

/// Opens the port, if the configuration asks for it; `public` is the address of the public TCP port.
///
/// # Errors
/// An address that does not exist or is taken, a certificate that cannot be used, or none.
pub(crate) fn open(config: &Config, public: SocketAddr, dev: bool) -> Result<Option<Udp>, Failure> {
    let Some((section, certificate)) = certificate(config, dev)? else { return Ok(None) };
    let quic = &config.quic;
    let origins = Arc::new(ArcSwap::from_pointee(clients::origins(config)?));
    let webtransport = config.webtransport.enabled.then(|| {
        let origins = origins.clone();
        WebTransport {
            path: config.webtransport.handler_prefix.clone(),
            message_size_limit: config.webtransport.message_size_limit,
            allows: Arc::new(move |origin: Option<&str>| origins.load().allow(origin)),
        }
    });
    let options = Options {
        raw: quic.enabled,
        webtransport,
        handshake_timeout: quic.handshake_timeout,
        message_size_limit: quic.message_size_limit,
        idle_timeout: quic.idle_timeout,
        send_window: quic.send_window.into(),
        receive_window: quic.receive_window,
        stream_receive_window: quic.stream_receive_window,
        retry_threshold: quic.retry_threshold,
        incoming_buffer: quic.incoming_buffer_size,
        socket_buffer: quic.socket_buffer_size,
        mtu_discovery: quic.mtu_discovery,
    };
    let name = if quic.address.is_empty() { &config.http_server.address } else { &quic.address };
    let port = quic.port.unwrap_or(public.port());
    let address = ports::address("quic.", name, port)?;
    let listener = QuicListener::bind(address, certificate.identity(), options).map_err(|error| {
        format!(
            "cannot listen on {address} (UDP): {error}; quic.port is {port} and quic.address is {name:?}: choose \
             another port, or stop what listens there",
        )
    })?;
    let renewal = listener.renewal();
    let address = listener.local_address()?;
    let certificate = http::Tls::new(certificate);
    Ok(Some(Udp { listener, address, face: Face { section, certificate, renewal, origins } }))
}

/// The certificate of the port, if the configuration asks for the port, and the section that has it; `None`: it was made for
/// development.
///
/// # Errors
/// It cannot be used, or there is none.
pub(crate) fn certificate(
    config: &Config,
    dev: bool,
) -> Result<Option<(Option<Section>, Certificate)>, Failure> {
    let quic = &config.quic;
    let switch = match (quic.enabled, config.webtransport.enabled) {
        (true, _) => "quic.enabled",
        (false, true) => "webtransport.enabled",
        (false, false) => return Ok(None),
    };
    let section = match () {
        () if quic.tls.enabled => Some(Section::Quic),
        () if config.http_server.tls.enabled => Some(Section::Public),
        () => None,
    };
    let certificate = match section {
        Some(section) => section.certificate(config)?,
        None if dev => {
            let made = cert::make(&[])?;
            tracing::info!(sha256 = made.hash_base64(), "a certificate for development was made");
            Certificate::read("the certificate for development", &made.tls())?
        }
        None => {
            return Err(format!(
                "{switch} is true; expected a certificate, too, in http_server.tls or quic.tls: QUIC is always \
                 encrypted. For development, `tidegate cert` makes one, and --dev does without"
            )
            .into());
        }
    };
    Ok(Some((section, certificate)))
}

impl Face {
    /// Shows another certificate to who connects from now on. Returns whether it is another one.
    pub(crate) fn replace(&self, certificate: Certificate) -> Result<bool, Failure> {
        let identity = certificate.identity();
        let other = self.certificate.replace(certificate);
        if other {
            self.renewal.replace(identity)?;
        }
        Ok(other)
    }

    /// Lets pages of these origins connect from now on.
    pub(crate) fn allow(&self, origins: Origins) {
        self.origins.store(Arc::new(origins));
    }
}
