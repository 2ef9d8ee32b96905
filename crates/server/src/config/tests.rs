use std::ffi::OsString;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::layers::Layers;
use super::*;

mod changes;
mod environment;

/// Loads `file` (its first line is its name, the rest its text), `environment` and `flags` (`name=value`), and
/// compares warnings and errors with `expected`, a line each; the directory of the file is left out.
#[track_caller]
fn check(file: &str, environment: &[&str], flags: &[&str], expected: &str) -> Option<Config> {
    let directory = Directory::new();
    let path = file.split_once('\n').map(|(name, text)| directory.write(name, text));
    let pairs = |list: &[&str]| {
        let pair =
            |entry: &&str| entry.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        list.iter().map(|entry| pair(entry).expect("name=value")).collect()
    };
    let loaded = load(&Sources { file: path, environment: pairs(environment), flags: pairs(flags) });
    let (config, said) = match loaded {
        Ok(loaded) => (Some(loaded.config), loaded.warnings.join("\n")),
        Err(errors) => (None, errors.to_string()),
    };
    let said = said.replace(&format!("{}/", directory.0.display()), "");
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(said, expected.join("\n"));
    config
}

#[track_caller]
fn accepted(file: &str, environment: &[&str], flags: &[&str]) -> Config {
    check(file, environment, flags, "").expect("no error was said")
}

struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tidegate-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("the temporary directory can be written");
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("the temporary directory can be written");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_table_is_sound() {
    let mut variables: Vec<String> = keys::all().iter().map(Key::variable).collect();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), keys::all().len(), "names and variables are unique");
    for key in keys::all() {
        assert!(key.meaning.len() > 5 && key.meaning.ends_with('.'), "{}: {}", key.name, key.meaning);
        assert!(!keys::is_section(key.name), "{} is a key and a section", key.name);
        assert!(!key.default.is_null(), "{}", key.name);
        assert_eq!(key.kind.accept(&key.default).as_ref(), Ok(&key.default), "{}", key.name);
    }
}

#[test]
fn the_default_is_the_table() {
    let config = Config::default();
    assert_eq!(config.http_server.port, 8000);
    assert_eq!(config.http_server.internal_port, None);
    assert_eq!(config.log.level, LogLevel::Info);
    let client = config.client;
    assert_eq!((client.channel_limit, client.queue_max_size), (128, 1 << 20));
    assert_eq!((client.connection_limit, client.ip_connection_limit), (None, None));
    assert_eq!((client.ping_interval, client.pong_timeout), (secs(25), secs(8)));
    assert_eq!((client.stale_close_delay, client.stalled_close_delay), (secs(10), secs(30)));
    assert_eq!(client.presence_update_interval, secs(27));
    assert_eq!(client.history_max_publication_limit.map(usize::from), Some(300));
    assert_eq!(client.duplicate_user, DuplicateUser::Keep);
    assert!(client.allowed_origins.is_empty() && client.token.hmac_secret_key.is_empty());
    let options = config.channel.without_namespace;
    assert_eq!((options.window_size, options.window_bytes, options.window_age), (4096, 2 << 20, secs(60)));
    assert_eq!(
        (options.backpressure, options.force_recovery_mode),
        (Backpressure::Default, RecoveryMode::Stream)
    );
    assert_eq!(config.channel.history_meta_ttl, secs(720 * 3600));
    assert_eq!(config.channel.max_length, 255);
    assert_eq!(config.websocket.message_size_limit, 65536);
    assert_eq!((config.websocket.write_timeout, config.websocket.handshake_timeout), (secs(1), secs(10)));
    assert!(config.health.enabled && config.prometheus.enabled && !config.admin.enabled);
    assert_eq!(config.node.memory_limit.map(usize::from), Some(256 << 20));
    assert_eq!(config.shutdown.timeout, secs(30));
    let loaded = load(&Sources::default()).expect("defaults load");
    assert!(loaded.warnings.is_empty());
    assert_eq!(format!("{:?}", loaded.config), format!("{:?}", Config::default()));
}

#[test]
fn the_printed_default_loads_again() {
    let directory = Directory::new();
    for (name, format) in [("a.toml", Format::Toml), ("a.yaml", Format::Yaml), ("a.json", Format::Json)] {
        let text = print_default(format);
        let path = directory.write(name, &text);
        let mut layers = Layers::new();
        layers.file(&path, &file::read(&path).expect(name));
        assert!(layers.problems.is_empty(), "{name}: {:?}", layers.problems);
        assert_eq!(layers.settings().count(), keys::all().len(), "{name} has every key");
        assert_eq!(layers.tree(), Layers::new().tree(), "{name}");
        assert_eq!(super::load_file(&path).expect(name).warnings, Vec::<String>::new());
        if format != Format::Json {
            for key in keys::all() {
                assert!(text.contains(key.meaning), "{name} explains {}", key.name);
            }
        }
    }
}

#[test]
fn every_key_can_be_set_by_a_flag_and_a_variable() {
    let (mut flags, mut environment) = (Vec::new(), Vec::new());
    for key in keys::all() {
        let text = match &key.default {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Array(items) if items.iter().all(serde_json::Value::is_string) => {
                items.iter().filter_map(serde_json::Value::as_str).collect::<Vec<_>>().join(" ")
            }
            other => other.to_string(),
        };
        flags.push(format!("{}={text}", key.name));
        environment.push(format!("{}={text}", key.variable()));
    }
    accepted("", &environment.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    accepted("", &[], &flags.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn a_file_of_v6_loads_with_warnings_only() {
    let file = r#"v6.json
{"client":{"token":{"hmac_secret_key":"secret"},"allowed_origins":["*"],"insecure":true},"channel":{"without_namespace":{"presence":true,"join_leave":true,"force_push_join_leave":true,"history_size":10,"history_ttl":"300s","allow_subscribe_for_client":true},"namespaces":[{"name":"chat","presence":true}]},"http_api":{"key":"k","insecure":true},"admin":{"enabled":true,"password":"p","secret":"s"},"health":{"enabled":true},"http_server":{"port":"8000"}}"#;
    let directory = Directory::new();
    let (name, text) = file.split_once('\n').expect("a name and a text");
    let path = directory.write(name, text);
    let loaded = load(&Sources { file: Some(path), ..Sources::default() }).expect("it loads");
    // Keys stop warning as they are implemented, so only the form is checked.
    for warning in &loaded.warnings {
        assert!(warning.ends_with("but this version does not implement it; it is ignored"), "{warning}");
    }
    let config = loaded.config;
    assert_eq!(config.client.allowed_origins, ["*"]);
    assert_eq!(config.channel.without_namespace.history_ttl, secs(300));
    assert!(config.channel.namespaces["chat"].presence);
    assert!(!config.channel.namespaces["chat"].join_leave, "nothing is inherited");
    assert!(config.http_api.key.matches(b"k") && !config.http_api.key.matches(b"l"));
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("\"secret\"") && !shown.contains("\"p\"") && shown.contains("Secret(…)"),
        "{shown}"
    );
}

#[test]
fn later_sources_win() {
    let file = "a.toml\n[client]\nconnection_limit = 1\n";
    let limit = |file: &str, environment: &[&str], flags: &[&str]| {
        accepted(file, environment, flags).client.connection_limit.map(usize::from)
    };
    assert_eq!(limit("", &[], &[]), None);
    assert_eq!(limit(file, &[], &[]), Some(1));
    assert_eq!(limit(file, &["WS_MAX_CLIENTS=2"], &[]), Some(2));
    assert_eq!(limit(file, &["TIDEGATE_CLIENT_CONNECTION_LIMIT=3", "WS_MAX_CLIENTS=2"], &[]), Some(3));
    assert_eq!(limit(file, &["TIDEGATE_CLIENT_CONNECTION_LIMIT=3"], &["client.connection_limit=4"]), Some(4));
    assert_eq!(limit(file, &["WS_MAX_CLIENTS=0"], &[]), None);
    assert_eq!(limit(file, &["WS_MAX_CLIENTS=", "TIDEGATE_CLIENT_CONNECTION_LIMIT="], &[]), Some(1));
    check(
        file,
        &["WS_MAX_CLIENTS=-5"],
        &[],
        "environment: WS_MAX_CLIENTS is -5; it counts as 0, which is unlimited",
    );
    let negative = |environment: &[&str], flags: &[&str], place: &str| {
        let said = format!("{place}; it counts as 0, which is unlimited");
        let config = check(file, environment, flags, &said).expect("a warning, and no error");
        assert_eq!(config.client.connection_limit, None);
    };
    negative(&[], &["client.connection_limit=-1"], "flags: --client.connection_limit is -1");
    negative(
        &["WS_MAX_CLIENTS=2", "TIDEGATE_CLIENT_CONNECTION_LIMIT=-3"],
        &[],
        "environment: TIDEGATE_CLIENT_CONNECTION_LIMIT is -3",
    );
    check(
        "a.toml\n[client]\nconnection_limit = -7\n",
        &[],
        &["client.ip_connection_limit=-1"],
        "a.toml: client.connection_limit is -7; it counts as 0, which is unlimited\n\
         flags: --client.ip_connection_limit is -1; it counts as 0, which is unlimited",
    );
    // Elsewhere a negative number is a mistake.
    check(
        "",
        &[],
        &["node.memory_limit=-1"],
        "flags: --node.memory_limit is \"-1\"; expected at least 0 bytes",
    );
    check(
        "",
        &["WS_MAX_CLIENTS=many"],
        &[],
        "environment: WS_MAX_CLIENTS is \"many\"; expected a whole number",
    );
}

#[test]
fn derived_limits_are_numbers_or_nothing() {
    let limit = |file: &str, flags: &[&str]| accepted(file, &[], flags).http_server.connection_limit;
    assert_eq!(limit("", &[]), Bound::Derived);
    assert_eq!(limit("a.toml\n[http_server]\nconnection_limit = \"\"\n", &[]), Bound::Derived);
    assert_eq!(limit("a.toml\n[http_server]\nconnection_limit = 0\n", &[]), Bound::Unlimited);
    assert_eq!(limit("", &["http_server.connection_limit=0"]), Bound::Unlimited);
    let seven = Bound::At(std::num::NonZero::new(7).unwrap());
    assert_eq!(limit("a.toml\n[http_server]\nconnection_limit = 7\n", &[]), seven);
    assert_eq!(limit("", &["http_server.connection_limit=7"]), seven);
    check(
        "",
        &[],
        &["http_server.connection_limit=few"],
        "flags: --http_server.connection_limit is \"few\"; expected a whole number, or nothing",
    );
    check(
        "",
        &[],
        &["node.resident_limit=-1"],
        "flags: --node.resident_limit is \"-1\"; expected at least 0 bytes",
    );
}

#[test]
fn the_same_in_every_format() {
    for file in [
        "a.toml\n[http_server]\nport = \"9000\"\n[[channel.namespaces]]\nname = \"chat\"\nwindow_age = \"1m30s\"\n",
        "a.yml\nhttp_server: {port: 9000}\nchannel:\n  namespaces:\n    - name: chat\n      window_age: 90s\nclient:\n",
        "a.json\n{\"http_server\":{\"port\":9000},\"channel\":{\"namespaces\":[{\"name\":\"chat\",\"window_age\":\"1.5m\"}]},\"client\":null}",
    ] {
        let config = accepted(file, &[], &[]);
        assert_eq!(config.http_server.port, 9000, "{file}");
        assert_eq!(config.channel.namespaces["chat"].window_age, secs(90), "{file}");
    }
    let config = accepted(
        "a.yaml\n",
        &[
            "TIDEGATE_HTTP_SERVER_PORT=9000",
            "TIDEGATE_CLIENT_ALLOWED_ORIGINS=https://a https://b",
            "TIDEGATE_CHANNEL_NAMESPACES=[{\"name\":\"chat\"}]",
            "TIDEGATE_CLIENT_INSECURE=1",
            "OTHER=x",
        ],
        &[],
    );
    assert_eq!(config.client.allowed_origins, ["https://a", "https://b"]);
    assert!(config.channel.namespaces.contains_key("chat") && config.client.insecure);
    // Templating tools write large numbers like this.
    assert_eq!(
        accepted("a.yaml\nclient: {queue_max_size: 1.048576e+06}", &[], &[]).client.queue_max_size,
        1 << 20
    );
}

#[test]
fn bad_values_say_what_where_and_what_was_expected() {
    let file = "tidegate.toml\n[client]\nqueue_max_size = 0\nping_interval = 25\npong_timeout = \"x\"\nchannel_limit = 1.5\n\
        insecure = \"yes\"\nallowed_origins = [1]\n[log]\nlevel = \"loud\"\n[http_server]\nport = 65536\n\
        trusted_proxies = [\"10.0.0.0/40\"]\n[http_api]\nkey = 12345\nhandler_prefix = \"api\"\n";
    check(
        file,
        &["TIDEGATE_CLIENT_INSECURE=yes", "TIDEGATE_CHANNEL_NAMESPACES=[{]", "TIDEGATE_NODE_MEMORY_LIMIT=-1"],
        &["shutdown.timeout=-1s"],
        r#"
        tidegate.toml: client.allowed_origins is a list of 1; expected a list of texts
        tidegate.toml: client.channel_limit is 1.5; expected a whole number
        tidegate.toml: client.insecure is "yes"; expected true or false
        tidegate.toml: client.ping_interval is 25; expected a duration with a unit, such as 25s, 100ms or 1h30m
        tidegate.toml: client.pong_timeout is "x"; expected a duration with a unit, such as 25s, 100ms or 1h30m
        tidegate.toml: client.queue_max_size is 0; expected at least 4096 bytes
        tidegate.toml: http_api.handler_prefix is "api"; expected a path that starts with /
        tidegate.toml: http_api.key is a number; expected a text
        tidegate.toml: http_server.port is 65536; expected a port from 0 to 65535
        tidegate.toml: http_server.trusted_proxies is ["10.0.0.0/40"]; expected a list of IP addresses or CIDR blocks such as 10.0.0.0/8
        tidegate.toml: log.level is "loud"; expected one of "none", "trace", "debug", "info", "warn", "error", "fatal"
        environment: TIDEGATE_CLIENT_INSECURE is "yes"; expected true, false, 1 or 0
        environment: TIDEGATE_CHANNEL_NAMESPACES is a text; expected a list of tables, as JSON (key must be a string at line 1 column 3)
        environment: TIDEGATE_NODE_MEMORY_LIMIT is "-1"; expected at least 0 bytes
        flags: --shutdown.timeout is "-1s"; expected a duration with a unit, such as 25s, 100ms or 1h30m
        "#,
    );
}

#[test]
fn unknown_keys_are_errors_that_name_the_nearest() {
    let file = "a.json\n{\"clinet\":{\"insecure\":true},\"client\":{\"pingInterval\":1,\"zzzzzzzz\":1},\"token_hmac_secret_key\":\"x\",\
        \"allowed_origins\":[],\"http_server\":5,\
        \"channel\":{\"namespaces\":[{\"name\":\"aa\"},{\"name\":\"bb\"},{\"name\":\"cc\",\"histroy_size\":1,\"map\":{\"mod\":\"\"}}]},\
        \"proxies\":[{\"name\":\"p1\",\"http\":{\"static_headers\":{\"X-Any\":\"1\"}},\"endpont\":\"\"}]}";
    check(
        file,
        &[],
        &["http_server.prot=1"],
        "
        a.json: allowed_origins is not a known key; did you mean client.allowed_origins?
        a.json: channel.namespaces[2].histroy_size is not a known key; did you mean history_size?
        a.json: channel.namespaces[2].map.mod is not a known key; did you mean map.mode?
        a.json: client.pingInterval is not a known key; did you mean client.ping_interval?
        a.json: client.zzzzzzzz is not a known key
        a.json: clinet is not a known key; did you mean client?
        a.json: http_server is a number; expected a table of keys
        a.json: proxies[0].endpont is not a known key; did you mean endpoint?
        a.json: token_hmac_secret_key is not a known key; did you mean client.token.hmac_secret_key?
        flags: --http_server.prot is not a known key; did you mean --http_server.port?
        ",
    );
    check(
        "",
        &["TIDEGATE_PORT_8000_TCP_ADDR=10.0.0.1", "TIDEGATE_HTTP_SERVER_PROT=1"],
        &[],
        "
        environment: TIDEGATE_PORT_8000_TCP_ADDR is not a known variable; it is ignored
        environment: TIDEGATE_HTTP_SERVER_PROT is not a known variable; it is ignored; did you mean TIDEGATE_HTTP_SERVER_PORT?
        ",
    );
}

#[test]
fn names_of_namespaces_are_checked() {
    check(
        "a.yaml\nchannel:\n  namespaces: [{name: a}, {name: 'a:b'}, {name: ab}, {name: ab}, {}, {name: 5}]\n",
        &["TIDEGATE_PROXIES=[{\"name\":\"\"}]"],
        &[],
        r#"
        a.yaml: channel.namespaces[0].name is "a"; expected at least two letters, digits, hyphens, underscores or dots
        a.yaml: channel.namespaces[1].name is "a:b"; expected at least two letters, digits, hyphens, underscores or dots
        a.yaml: channel.namespaces[3].name is "ab"; expected a name used only once
        a.yaml: channel.namespaces[4].name is missing; expected a name
        a.yaml: channel.namespaces[5].name is 5; expected a text
        environment: TIDEGATE_PROXIES[0].name is ""; expected at least two letters, digits, hyphens, underscores or dots
        "#,
    );
}

#[test]
fn keys_not_implemented_warn_or_fail() {
    // Keys that will stay unimplemented for long; a default value says nothing.
    check(
        "a.yaml\ngraphite: {enabled: true, port: '2003'}\nswagger: {enabled: false}\nconsumers: [{name: x, type: kafka}]\n",
        &[],
        &[],
        "
        a.yaml: consumers is set, but this version does not implement it; it is ignored
        a.yaml: graphite.enabled is set, but this version does not implement it; it is ignored
        ",
    );
    check(
        "a.yaml\nengine: {type: redis, redis: {tls: {enabled: true}}}\nbroker: {type: memory}\ncontroller: {type: memory}\n\
         channel:\n  namespaces: [{name: aa, map: {publish_proxy_enabled: true}}]\n",
        &[],
        &[],
        r#"
        a.yaml: engine.type is "redis", which this version does not implement; ignoring it would mean that messages and presence do not reach other nodes
        a.yaml: engine.redis.tls.enabled is true, which this version does not implement; ignoring it would mean that connections are not encrypted
        a.yaml: channel.namespaces[0].map.publish_proxy_enabled is true, which this version does not implement; ignoring it would mean that the proxy is not asked
        "#,
    );
}

#[test]
fn keys_that_belong_together_are_checked() {
    check(
        "",
        &[],
        &["client.ping_interval=5s"],
        "flags: --client.ping_interval is \"5s\"; expected more than client.pong_timeout (8s)",
    );
    check(
        "",
        &[],
        &["client.pong_timeout=25s"],
        "flags: --client.pong_timeout is \"25s\"; expected less than client.ping_interval (25s)",
    );
    check(
        "",
        &[],
        &[
            "client.queue_max_size=4194304",
            "channel.without_namespace.window_bytes=8388608",
            "channel.namespaces=[{\"name\":\"chat\"}]",
        ],
        "channel.namespaces[0].window_bytes is 2097152; expected at least client.queue_max_size (4194304 bytes): a subscriber there counts as slow at 2097152 bytes",
    );
}

#[test]
fn files_that_cannot_be_read_say_why() {
    check("a.json\n{\"client\":\n  x}", &[], &[], "a.json:2:3: expected value");
    check(
        "a.toml\n[client]\ninsecure = maybe\n",
        &[],
        &[],
        "a.toml:2:12: string values must be quoted, expected literal string",
    );
    check("a.yaml\na: [1\nb: 2\n", &[], &[], "a.yaml:2:2: illegal placement of ':' indicator");
    check("a.yaml\n- 1\n", &[], &[], "a.yaml is a list; expected a table of keys");
    check(
        "a.ini\nx=1",
        &[],
        &[],
        "a.ini: unknown format; expected a name ending in .toml, .yaml, .yml or .json",
    );
    let missing =
        super::load_file(Path::new("/nonexistent/a.toml")).expect_err("there is no such file").to_string();
    assert_eq!(
        missing,
        "/nonexistent/a.toml: cannot read the configuration: No such file or directory (os error 2)"
    );
}

#[test]
fn command_lines_are_split() {
    #[track_caller]
    fn check(line: &str, expected: &str) {
        let said = match split(line.split(' ').map(OsString::from)) {
            Ok(Arguments { settings, rest }) => {
                let settings: Vec<String> =
                    settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
                let rest: Vec<String> = rest.iter().map(|rest| rest.to_string_lossy().into_owned()).collect();
                format!("{} | {}", settings.join(" "), rest.join(" "))
            }
            Err(errors) => errors.to_string(),
        };
        assert_eq!(said, expected, "{line}");
    }
    check("serve -c a.toml --http_server.port=9000 --dev", "http_server.port=9000 | serve -c a.toml --dev");
    check("--http_server.port 9000 serve", "http_server.port=9000 | serve");
    check("--port 9000 --address=::1", "http_server.port=9000 http_server.address=::1 | ");
    check("--client.insecure --log.level debug", "client.insecure=true log.level=debug | ");
    check("--client.insecure false serve", "client.insecure=false | serve");
    check("--client.insecure serve", "client.insecure=true | serve");
    check("--pid_file p --config=x -- --port 1", "pid_file=p | --config=x -- --port 1");
    check("--log.file=", "log.file= | ");
    check("--log.level", "flags: --log.level has no value; expected --log.level=value");
    check(
        "--http_server.prot=1",
        "flags: --http_server.prot is not a known key; did you mean --http_server.port?",
    );
    for (flag, meant) in [
        ("log_level", Some("log.level")),
        ("admin", Some("admin.enabled")),
        ("health", Some("health.enabled")),
        ("engine", Some("engine.type")),
        ("client_insecure", Some("client.insecure")),
        ("api_insecure", Some("http_api.insecure")),
        ("token_hmac_secret_key", Some("client.token.hmac_secret_key")),
        ("nonsense", None),
    ] {
        assert_eq!(super::meant(flag), meant, "{flag}");
    }
    assert!(known_flags().any(|key| key.name == "client.token.hmac_secret_key"));
}

#[test]
fn durations_are_those_of_go() {
    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(duration::parse(text).map_or("none".to_owned(), duration::format), expected, "{text}");
    }
    for (text, expected) in [
        ("25s", "25s"),
        ("300s", "5m0s"),
        ("720h0m0s", "720h0m0s"),
        ("1m30s", "1m30s"),
        ("100ms", "100ms"),
        ("1.5s", "1.5s"),
        (".5h", "30m0s"),
        ("1h0.25s", "1h0m0.25s"),
        ("1500us", "1.5ms"),
        ("7ns", "7ns"),
        ("0", "0s"),
        ("0s", "0s"),
        ("+1s", "1s"),
        ("", "none"),
        ("5", "none"),
        ("s", "none"),
        ("1d", "none"),
        ("-1s", "none"),
        ("1s ", "none"),
        ("1sm", "none"),
        ("99999999999h", "none"),
    ] {
        check(text, expected);
    }
}

#[test]
fn secrets_are_not_shown() {
    let sources = Sources {
        environment: vec![("TIDEGATE_ADMIN_SECRET".into(), "hush".into()), ("HOME".into(), "/".into())],
        flags: vec![("http_api.key".into(), "hush".into())],
        ..Sources::default()
    };
    assert_eq!(
        format!("{sources:?}"),
        "Sources { file: None, environment: [\"TIDEGATE_ADMIN_SECRET\"], flags: [\"http_api.key\"] }"
    );
    assert!(!Secret::default().matches(b""));
    assert_eq!(format!("{:?}", Secret::from("hush")), "Secret(…)");
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn an_admin_page_has_a_password_or_is_said_to_have_none() {
    check(
        "a.toml\n[admin]\nenabled = true\npassword = 'p'\n",
        &[],
        &[],
        "a.toml: admin.enabled is true; expected admin.secret, too: the password is what is typed at the page, the \
         secret a long random text that signs its sessions; for development only, admin.insecure does without",
    );
    check(
        "",
        &["TIDEGATE_ADMIN_ENABLED=true"],
        &[],
        "environment: TIDEGATE_ADMIN_ENABLED is true; expected admin.password and admin.secret, too: the password is \
         what is typed at the page, the secret a long random text that signs its sessions; for development only, \
         admin.insecure does without",
    );
    check(
        "",
        &[],
        &["admin.enabled=true", "admin.insecure=true", "admin.web_path=x"],
        "
        flags: --admin.web_path is set, but this version does not implement it; it is ignored
        admin.insecure is true: whoever reaches the admin page may read every channel, publish and disconnect; \
         for development only
        ",
    );
    let config =
        accepted("", &["TIDEGATE_ADMIN_SECRET=s", "TIDEGATE_ADMIN_PASSWORD=p"], &["admin.enabled=true"]);
    assert!(config.admin.enabled && config.admin.password.matches(b"p") && config.admin.secret.matches(b"s"));
    // Switched off, nothing is asked for.
    assert!(!accepted("", &["TIDEGATE_ADMIN_PASSWORD=p"], &[]).admin.enabled);
}

#[test]
fn tls_is_whole_or_off() {
    check(
        "",
        &[],
        &["http_server.tls.enabled=true"],
        "
        flags: --http_server.tls.enabled is true; expected http_server.tls.cert_pem, too: a file, PEM, or base64 of PEM
        flags: --http_server.tls.enabled is true; expected http_server.tls.key_pem, too: a file, PEM, or base64 of PEM
        ",
    );
    let config = accepted(
        "a.toml\n[http_server]\nport = '8443'\ninternal_port = 9000\ntls_external = true\n\
         tls = {enabled = true, cert_pem = 'c', key_pem = 'k', client_ca_pem = 'a'}\n",
        &["TIDEGATE_HTTP_SERVER_INTERNAL_ADDRESS=127.0.0.1"],
        &[],
    );
    let server = config.http_server;
    assert_eq!(
        (server.port, server.internal_port, &*server.internal_address),
        (8443, Some(9000), "127.0.0.1")
    );
    assert!(server.tls_external && server.tls.enabled && !server.internal_tls.enabled);
    assert_eq!(server.tls_check_interval, Some(secs(60)));
    check(
        "a.yaml\nhttp_server: {tls: {cert_pem: c}, internal_tls: {client_ca_pem: a}}\n",
        &[],
        &["http_server.tls.server_name=example.com", "http_server.tls_check_interval=0"],
        "
        a.yaml: http_server.tls.cert_pem is set, but http_server.tls.enabled is false: it is not used
        flags: --http_server.tls.server_name is set; it concerns who connects, and has no effect on a server
        a.yaml: http_server.internal_tls.client_ca_pem is set, but http_server.internal_tls.enabled is false: it is not used
        ",
    );
    check(
        "",
        &[],
        &["http_server.tls_autocert.enabled=true", "http_server.http3.enabled=true"],
        "flags: --http_server.tls_autocert.enabled is true, which this version does not implement; \
         ignoring it would mean that connections are not encrypted",
    );
    check(
        "",
        &[],
        &["http_server.h2c_external=true", "http_server.http3.enabled=true"],
        "
        flags: --http_server.http3.enabled is set, but this version does not implement it; it is ignored
        flags: --http_server.h2c_external is set, but this version does not implement it; it is ignored
        ",
    );
}
