//! Calls of clients that the backend answers.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_core::{Client, Refusal};

use super::endpoint::Proxy;
use super::origin::Origin;
use super::{Event, Question};

#[derive(Default, Deserialize)]
#[serde(default)]
struct RpcResult {
    data: Option<Box<RawValue>>,
    b64data: Option<String>,
}

impl Proxy {
    /// Has the backend answer a call.
    pub(crate) async fn rpc(&self, client: &Client, method: &str, data: &Bytes) -> Result<Bytes, Refusal> {
        let question = Question { method, ..self.of_client(client, data)? };
        let result: RpcResult = self.ask(Event::Rpc, Origin::kept(client), &question).await??;
        Ok(self.either(result.b64data, result.data)?.unwrap_or_default())
    }
}
