//! Where clients connect.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::routing::MethodRouter;
use tidegate_server::Handle;
use tidegate_server::config::{Config, HttpTransport, ToResponse, Transforms};
use tidegate_server::core::Disconnect;
use tidegate_server::http::{self, StreamOptions};
use tidegate_server::transport_ws::{Options as WebSocket, Origins};

use crate::node::Failure;
use crate::ports::Table;

/// The pages from which clients may connect.
///
/// # Errors
/// One of them is none.
pub(crate) fn origins(config: &Config) -> Result<Origins, Failure> {
    let origins = Origins::parse(&config.client.allowed_origins);
    Ok(origins.map_err(|error| format!("client.allowed_origins: {error}"))?)
}

/// Adds the paths at which clients connect.
///
/// # Errors
/// A value that cannot be served: a path that two things claim, an origin that is none.
pub(crate) fn routes(config: &Config, handle: &Handle, table: &mut Table) -> Result<(), Failure> {
    let origins = origins(config)?;
    let websocket = WebSocket {
        handshake_timeout: config.websocket.handshake_timeout,
        message_size_limit: config.websocket.message_size_limit,
        max_fragments: config.websocket.fragment_limit,
        allowed_origins: origins.clone(),
        // The port has set both.
        nodelay: false,
        not_sent_low_water: 0,
        ..Default::default()
    };
    if config.uni_websocket.enabled {
        let options =
            WebSocket { message_size_limit: config.uni_websocket.message_size_limit, ..websocket.clone() };
        let route = http::uni_websocket(handle.clone(), options);
        table.route("uni_websocket.handler_prefix", &config.uni_websocket.handler_prefix, route)?;
    }
    if !config.websocket.disabled {
        let route = http::websocket(handle.clone(), websocket);
        table.route("websocket.handler_prefix", &config.websocket.handler_prefix, route)?;
    }
    let options = |max_request_body_size: usize| StreamOptions {
        allowed_origins: origins.clone(),
        max_request_body_size,
        ..Default::default()
    };
    let mut stream = |key, section: &HttpTransport, refusals, route: Route| -> Result<(), Failure> {
        if section.enabled {
            let options = StreamOptions { refusals, ..options(section.max_request_body_size) };
            table.route(key, &section.handler_prefix, route(handle.clone(), options))?;
        }
        Ok(())
    };
    let none = BTreeMap::new;
    stream("http_stream.handler_prefix", &config.http_stream, none(), http::http_stream)?;
    stream("sse.handler_prefix", &config.sse, none(), http::sse)?;
    let uni = &config.uni_http_stream;
    let refused = refusals(&uni.connect_code_to_http_response);
    stream("uni_http_stream.handler_prefix", &uni.http, refused, http::uni_http_stream)?;
    let uni = &config.uni_sse;
    let refused = refusals(&uni.connect_code_to_http_response);
    stream("uni_sse.handler_prefix", &uni.http, refused, http::uni_sse)?;
    if config.http_stream.enabled || config.sse.enabled {
        let section = &config.emulation;
        let route = http::emulation(handle.clone(), options(section.max_request_body_size));
        table.route("emulation.handler_prefix", &section.handler_prefix, route)?;
    }
    Ok(())
}

type Route = fn(Handle, StreamOptions) -> MethodRouter;

/// How clients that only read are closed, by the code of the error.
pub(crate) fn disconnects(config: &Config) -> BTreeMap<u32, Disconnect> {
    let transforms = config.client.connect_code_to_unidirectional_disconnect.iter();
    transforms
        .map(|(code, to)| (code, Disconnect { code: to.code, reason: to.reason.clone().into() }))
        .collect()
}

fn refusals(transforms: &Transforms<ToResponse>) -> BTreeMap<u32, (StatusCode, String)> {
    let status =
        |to: &ToResponse| StatusCode::from_u16(to.status_code).expect("the configuration was checked");
    transforms.iter().map(|(code, to)| (code, (status(to), to.body.clone()))).collect()
}
