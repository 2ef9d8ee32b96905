//! Calls of clients that the backend answers.

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tidegate_core::{Client, Refusal};

use super::endpoint::Proxy;
use super::origin::Origin;
use super::{Event, Question};

#[derive(Default, Deserialize)]
#[serde(default)]
struct RpcResult {
    #[serde(deserialize_with = "given")]
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
}

/// `null` is an answer, too.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

impl Proxy {
    /// Has the backend answer a call.
    pub(crate) async fn rpc(&self, client: &Client, method: &str, data: &Bytes) -> Result<Bytes, Refusal> {
        let question = Question { method, ..self.of_client(client, data)? };
        let result: RpcResult = self.ask(Event::Rpc, Origin::kept(client), &question).await??;
        Ok(self.either(result.b64data, result.data)?.unwrap_or_default())
    }
}
