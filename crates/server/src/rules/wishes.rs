use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use tidegate_core::ClientError;

/// What a subscriber asks for beyond the protocol: `{"tidegate": {…}}` in the data of its subscribe request,
/// which every SDK lets it set. The rest of the data is the application's own, whatever it is.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
pub(super) struct Wishes {
    /// What is to happen when it is too slow.
    #[serde(default)]
    pub(super) backpressure: Option<String>,
    /// It wants to be told of gaps.
    #[serde(default)]
    pub(super) notices: bool,
    /// It takes publications that may get lost on the way.
    #[serde(default)]
    pub(super) datagrams: bool,
}

impl Wishes {
    /// # Errors
    /// 107 where `tidegate` is not what it should be.
    pub(super) fn read(data: &Bytes) -> Result<Self, ClientError> {
        #[derive(Deserialize)]
        struct Data<'a> {
            #[serde(borrow)]
            tidegate: Option<&'a RawValue>,
        }
        // An array would do for serde, too.
        if !data.trim_ascii_start().starts_with(b"{") {
            return Ok(Self::default());
        }
        let Ok(Data { tidegate: Some(wishes) }) = serde_json::from_slice(data) else {
            return Ok(Self::default());
        };
        serde_json::from_str(wishes.get()).map_err(|error| {
            let message = format!("bad request: tidegate in data: {error}");
            ClientError { message: message.into(), ..ClientError::BAD_REQUEST }
        })
    }
}
