//! `tidegate bench` against `tidegate serve`, as anybody would run them.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The binary in development mode, which ends when this is dropped.
struct Serving {
    child: Child,
    port: u16,
    url: String,
}

impl Serving {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(settings: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut server = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        server.args(["serve", "--dev", "--port", &port.to_string()]).args(settings);
        let mut child = server.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains("serving")), "it said nothing of serving");
        // Whoever logs must not wait for a reader.
        std::thread::spawn(move || lines.count());
        Self { child, port, url: format!("ws://127.0.0.1:{port}/connection/websocket") }
    }

    /// What the bench reports; it is content.
    fn bench(&self, line: &str) -> Value {
        let mut bench = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        bench.arg("bench").args(line.split(' ')).args(["--json", "--quiet", "--url", &self.url]);
        bench.args(["--server-pid", &self.child.id().to_string()]);
        let output = bench.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{line}: {text} {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_delivery_is_counted() {
    let server = Serving::start();
    for way in ["--protocol json", "--protocol protobuf", "--publish api"] {
        let report = server.bench(&format!("fanout --subscribers 20 --channels 2 --count 500 {way}"));
        assert_eq!(report["deliveries"]["received"], 5_000, "{way}: {report}");
        assert_eq!(report["window"]["publications"], 500, "{way}");
    }
}

#[test]
fn connections_are_weighed_and_come_back() {
    let server = Serving::start();
    let idle = server.bench("idle --connections 200 --settle 0s --duration 100ms");
    let each = idle["memory_per_connection"].as_f64().unwrap();
    println!("{each} bytes per connection, in a debug build");
    assert!((100.0..100_000.0).contains(&each), "{idle}");
    let churn = server.bench("churn --connections 100 --rounds 2 --settle 0s");
    assert_eq!(churn["rounds"][2]["back"]["count"], 100, "{churn}");
}

/// A certificate and its key, and what the bench trusts it by: twice.
fn certificate() -> ([String; 2], [String; 2]) {
    let path = |name| format!("{}/bench-{}-{name}.pem", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let files = [path("cert"), path("key")];
    let mut make = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let made = make.args(["cert", "--force", "--cert", &files[0], "--key", &files[1]]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let said = String::from_utf8(made.stdout).unwrap();
    let hash = said.split_whitespace().find(|word| word.len() == 64).expect("a hash in hexadecimal digits");
    let trusts = [format!("--ca-file {}", files[0]), format!("--cert-hash {hash}")];
    (files, trusts)
}

#[test]
fn every_delivery_is_counted_over_quic_and_over_tls() {
    let ([cert, key], [by_file, by_hash]) = certificate();
    let tls = ["--http_server.tls.enabled", "true", "--http_server.tls.cert_pem", &cert];
    let quic = ["--http_server.tls.key_pem", &key, "--quic.enabled", "true"];
    let mut server = Serving::start_with(&[tls, quic].concat());
    let quic = format!("quic://localhost:{}", server.port);
    let tls = format!("wss://localhost:{}/connection/websocket", server.port);
    for (url, way) in [
        (&quic, format!("--protocol json {by_file}")),
        (&quic, format!("--protocol protobuf --transport quic --size 2000 {by_hash}")),
        (&tls, format!("--protocol json {by_hash}")),
        (&tls, format!("--protocol protobuf {by_file}")),
    ] {
        server.url.clone_from(url);
        let report =
            server.bench(&format!("fanout --subscribers 20 --channels 2 --count 500 --threads 2 {way}"));
        assert_eq!(report["deliveries"]["received"], 5_000, "{url} {way}: {report}");
        assert_eq!(report["window"]["publications"], 500, "{url} {way}");
    }
    server.url = quic;
    let idle =
        server.bench(&format!("idle --connections 20 --channels 5 --settle 0s --duration 100ms {by_file}"));
    assert_eq!((&idle["ended"], &idle["setup"]["clients"]), (&0.into(), &20.into()), "{idle}");
    // More than may be in their handshakes without proving their address.
    let crowd = "--connections 700 --connecting 700 --timeout 60s --settle 0s --duration 100ms";
    let all = server.bench(&format!("idle {crowd} {by_file}"));
    assert_eq!((&all["ended"], &all["setup"]["clients"]), (&0.into(), &700.into()), "{all}");
}
