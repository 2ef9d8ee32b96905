//! What no key can judge alone: keys that may not be ignored, and keys that belong together.

use serde_json::Value;

use super::duration;
use super::keys::{self, Key, Status};
use super::kind::{self, Element, Kind};
use super::layers::Layers;
use super::problem::Problem;
use super::transforms::{Target, ToDisconnect, ToResponse, Transform};

/// Warns of, or refuses, every key that is set and not implemented.
pub(super) fn check_support(layers: &mut Layers) {
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for (key, setting) in layers.settings() {
        let mut report = |key: &Key, path: &str, value: &Value| {
            if key.status == Status::Implemented || *value == key.default {
                return;
            }
            let place = setting.place(path);
            match consequence(key.name, value).filter(|_| !is_off(layers, key.name)) {
                Some(consequence) => {
                    problems.push(Problem::Unsupported { place, found: kind::describe(value), consequence });
                }
                None => warnings
                    .push(format!("{place} is set, but this version does not implement it; it is ignored")),
            }
        };
        report(key, key.name, &setting.value);
        let Kind::Tables(Element::Named(base)) = key.kind else { continue };
        for (index, table) in setting.value.as_array().into_iter().flatten().enumerate() {
            for key_of_table in keys::below(base) {
                let relative = &key_of_table.name[base.len()..];
                if let Some(value) = table.pointer(&format!("/{}", relative.replace('.', "/"))) {
                    let path = format!("{}[{index}].{relative}", key.name);
                    report(key_of_table, &path, value);
                }
            }
        }
    }
    layers.problems.append(&mut problems);
    layers.warnings.append(&mut warnings);
}

/// Checks keys whose values must fit each other.
pub(super) fn check_relations(layers: &mut Layers) {
    pong_before_ping(layers);
    windows_hold_queues(layers);
    positions_need_history(layers);
    personal_namespace_exists(layers);
    disk_has_a_path(layers);
    tls_is_whole(layers, "http_server.tls");
    tls_is_whole(layers, "http_server.internal_tls");
    tls_is_whole(layers, "quic.tls");
    transforms_are_sound::<ToDisconnect>(layers, "client.connect_code_to_unidirectional_disconnect");
    transforms_are_sound::<ToResponse>(layers, "uni_sse.connect_code_to_http_response");
    transforms_are_sound::<ToResponse>(layers, "uni_http_stream.connect_code_to_http_response");
    admin_is_guarded(layers);
}

/// Checks each table of a list of transforms.
fn transforms_are_sound<T: Target>(layers: &mut Layers, section: &str) {
    let name = format!("{section}.transforms");
    let Some(setting) = layers.setting(&name) else { return };
    let mut problems = Vec::new();
    for (index, table) in setting.value.as_array().into_iter().flatten().enumerate() {
        let transform: Result<Transform<T>, _> = serde_json::from_value(table.clone());
        if transform.is_ok_and(|transform| transform.to.is_sound()) {
            continue;
        }
        problems.push(Problem::BadValue {
            place: setting.origin.place(&format!("{name}[{index}]")),
            found: table.to_string(),
            expected: T::EXPECTED.to_owned(),
        });
    }
    layers.problems.append(&mut problems);
}

/// The admin page needs a password and a secret, unless somebody says that it needs none.
fn admin_is_guarded(layers: &mut Layers) {
    let switch = "admin.enabled";
    let insecure = *layers.value("admin.insecure") == true;
    let missing = ["admin.password", "admin.secret"].into_iter().filter(|key| text(layers, key).is_empty());
    let missing: Vec<_> = missing.collect();
    let Some(setting) = layers.setting(switch).filter(|setting| setting.value == true) else { return };
    if insecure {
        layers.warnings.push(
            "admin.insecure is true: whoever reaches the admin page may read every channel, publish and \
             disconnect; for development only"
                .to_owned(),
        );
    } else if !missing.is_empty() {
        let problem = Problem::BadValue {
            place: setting.origin.place(switch),
            found: "true".to_owned(),
            expected: format!(
                "{}, too: the password is what is typed at the page, the secret a long random text that signs \
                 its sessions; for development only, admin.insecure does without",
                missing.join(" and ")
            ),
        };
        layers.problems.push(problem);
    }
}

/// TLS needs a certificate and a key; and whoever gives these means it to be on.
fn tls_is_whole(layers: &mut Layers, section: &str) {
    let key = |name: &str| format!("{section}.{name}");
    let enabled = *layers.value(&key("enabled")) == true;
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    for name in ["cert_pem", "key_pem"] {
        if enabled && text(layers, &key(name)).is_empty() {
            let switch = key("enabled");
            let setting = layers.setting(&switch).expect("it is off by default");
            problems.push(Problem::BadValue {
                place: setting.origin.place(&switch),
                found: "true".to_owned(),
                expected: format!("{section}.{name}, too: a file, PEM, or base64 of PEM"),
            });
        }
    }
    for name in ["cert_pem", "key_pem", "client_ca_pem"] {
        if let Some(setting) = layers.setting(&key(name))
            && setting.value != ""
            && !enabled
        {
            let place = setting.origin.place(&key(name));
            warnings.push(format!("{place} is set, but {section}.enabled is false: it is not used"));
        }
    }
    for name in ["server_ca_pem", "insecure_skip_verify", "server_name"] {
        if let Some(setting) = layers.setting(&key(name))
            && setting.value != keys::find(&key(name)).expect("the table has it").default
        {
            let place = setting.origin.place(&key(name));
            warnings.push(format!("{place} is set; it concerns who connects, and has no effect on a server"));
        }
    }
    layers.problems.append(&mut problems);
    layers.warnings.append(&mut warnings);
}

/// Whether the key stands in a section that is switched off.
fn is_off(layers: &Layers, name: &str) -> bool {
    let mut section = name;
    while let Some((above, _)) = section.rsplit_once('.') {
        let switch = format!("{above}.enabled");
        if switch != name && keys::find(&switch).is_some() && *layers.value(&switch) == false {
            return true;
        }
        section = above;
    }
    false
}

/// What ignoring this value would do to security or delivery; `None` if nothing.
fn consequence(name: &str, value: &Value) -> Option<&'static str> {
    let (section, last) = name.rsplit_once('.').unwrap_or(("", name));
    match (section, last) {
        (_, "enabled") if section.ends_with("tls") => Some("connections are not encrypted"),
        ("http_server.tls_autocert", "enabled") => Some("connections are not encrypted"),
        ("grpc_api.tls" | "uni_grpc.tls", "client_ca_pem") => {
            Some("clients without a certificate are let in")
        }
        ("engine" | "broker" | "map_broker" | "presence_manager" | "controller", "type") => (!["", "memory"]
            .contains(&value.as_str().unwrap_or_default()))
        .then_some("messages and presence do not reach other nodes"),
        ("", "consumers") => {
            let on = |consumer: &Value| consumer["enabled"] == true;
            value
                .as_array()
                .is_some_and(|all| all.iter().any(on))
                .then_some("what they bring is not published")
        }
        (_, "channel_regex") => Some("every channel name is accepted"),
        _ if last.ends_with("proxy_enabled") => Some("the proxy is not asked"),
        (
            "client.token" | "client.subscription_token",
            "audience" | "audience_regex" | "issuer" | "issuer_regex",
        ) if keys::find("client.token.hmac_secret_key")
            .is_some_and(|key| key.status == Status::Implemented) =>
        {
            Some("tokens made for others are accepted")
        }
        _ => None,
    }
}

/// History on disk needs to know where.
fn disk_has_a_path(layers: &mut Layers) {
    let key = "history.storage";
    let Some(setting) = layers.setting(key).filter(|setting| setting.value == "disk") else { return };
    if text(layers, "history.path").is_empty() {
        let problem = Problem::BadValue {
            place: setting.origin.place(key),
            found: setting.to_string(),
            expected: "history.path, too: a directory of this server's own".to_owned(),
        };
        layers.problems.push(problem);
    }
}

fn pong_before_ping(layers: &mut Layers) {
    let (ping, pong) = ("client.ping_interval", "client.pong_timeout");
    if time(layers, pong) < time(layers, ping) {
        return;
    }
    let (key, expected) = match layers.setting(pong) {
        Some(_) => (pong, format!("less than {ping} ({})", text(layers, ping))),
        None => (ping, format!("more than {pong} ({})", text(layers, pong))),
    };
    let setting = layers.setting(key).expect("the defaults fit: tested");
    let problem =
        Problem::BadValue { place: setting.origin.place(key), found: setting.to_string(), expected };
    layers.problems.push(problem);
}

/// A window smaller than the queue makes the window the limit. A file of v6 that raises only the queue must
/// load, so this warns.
fn windows_hold_queues(layers: &mut Layers) {
    let queue = layers.value("client.queue_max_size").as_u64().unwrap_or_default();
    let mut windows = vec![(
        "channel.without_namespace".to_owned(),
        layers.value("channel.without_namespace.window_bytes").as_u64().unwrap_or_default(),
    )];
    for (index, table) in layers.value("channel.namespaces").as_array().into_iter().flatten().enumerate() {
        let window = table["window_bytes"].as_u64().unwrap_or_default();
        windows.push((format!("channel.namespaces[{index}]"), window));
    }
    for (section, window) in windows.into_iter().filter(|(_, window)| *window < queue) {
        layers.warnings.push(format!(
            "{section}.window_bytes is {window}; expected at least client.queue_max_size ({queue} bytes): \
             a subscriber there counts as slow at {window} bytes"
        ));
    }
}

/// There are no offsets to hear of where no history is kept; v6 takes this, too.
fn positions_need_history(layers: &mut Layers) {
    let in_vain = |options: &Value| options["force_positioning"] == true && options["history_size"] == 0;
    let tree = layers.tree();
    let default = ("channel.without_namespace".to_owned(), &tree["channel"]["without_namespace"]);
    let named = tree["channel"]["namespaces"].as_array().into_iter().flatten().enumerate();
    let named = named.map(|(index, table)| (format!("channel.namespaces[{index}]"), table));
    for (section, _) in std::iter::once(default).chain(named).filter(|(_, options)| in_vain(options)) {
        layers.warnings.push(format!(
            "{section}.force_positioning is true; it has no effect without history_size and history_ttl"
        ));
    }
}

fn personal_namespace_exists(layers: &mut Layers) {
    let key = "client.subscribe_to_user_personal_channel.personal_channel_namespace";
    let Some(setting) = layers.setting(key) else { return };
    let namespaces = layers.value("channel.namespaces").as_array().into_iter().flatten();
    let known = namespaces.into_iter().any(|table| table["name"] == setting.value);
    if setting.value != "" && !known {
        let problem = Problem::BadValue {
            place: setting.origin.place(key),
            found: setting.to_string(),
            expected: "the name of one of channel.namespaces".to_owned(),
        };
        layers.problems.push(problem);
    }
}

fn time(layers: &Layers, name: &str) -> std::time::Duration {
    duration::parse(text(layers, name)).unwrap_or_default()
}

fn text<'a>(layers: &'a Layers, name: &str) -> &'a str {
    layers.value(name).as_str().unwrap_or_default()
}
