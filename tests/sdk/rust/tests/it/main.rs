//! Tidegate under `centrifuge-client`, as published.

mod connection;
mod refused;
mod sdk;
mod subscription;

/// Makes a test in each encoding of functions that take it.
macro_rules! in_each_encoding {
    ($($name:ident),+ $(,)?) => {
        mod json {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(centrifuge::Protocol::Json).await;
            })+
        }
        mod protobuf {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(centrifuge::Protocol::Protobuf).await;
            })+
        }
    };
}
pub(crate) use in_each_encoding;
