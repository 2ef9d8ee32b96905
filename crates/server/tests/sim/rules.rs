//! The application of the simulated server: who may do what, and how long it thinks about it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tidegate_server::Bytes;
use tidegate_server::core::broker::PublishOptions;
use tidegate_server::core::call::SubscribeCall;
use tidegate_server::core::request::{ConnectRequest, SubscribeRequest};
use tidegate_server::core::transport::Peer;
use tidegate_server::core::{
    Authenticator, Channel, Client, ClientError, HistoryBounds, Hooks, Identity, PublishGrant, Refusal,
    SubscribeGrant,
};

use crate::dice::Dice;
use crate::plan::ChannelPlan;
use crate::world::World;

/// Everybody may do everything, as the plan says how. A token is the number of a guest.
#[derive(Clone)]
pub(crate) struct Rules {
    world: Arc<World>,
    dice: Arc<Mutex<Dice>>,
}

impl Rules {
    pub(crate) fn new(world: Arc<World>) -> Self {
        let dice = Arc::new(Mutex::new(Dice::new(world.plan.seed, 3)));
        Self { world, dice }
    }

    async fn think(&self) {
        let pause = {
            let mut dice = self.dice.lock().unwrap();
            dice.percent(self.world.plan.late).then(|| dice.millis(0, 300))
        };
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
    }

    fn channel(&self, channel: &Channel) -> Result<&ChannelPlan, Refusal> {
        let number = self.world.number(channel).ok_or(ClientError::UNKNOWN_CHANNEL)?;
        Ok(&self.world.plan.channels[number])
    }
}

#[async_trait]
impl Authenticator for Rules {
    async fn connect(&self, request: &ConnectRequest, _: &Peer) -> Result<Identity, Refusal> {
        self.think().await;
        let plan = &self.world.plan;
        let number: Option<usize> = request.token.parse().ok();
        let guest = number.and_then(|number| plan.guests.get(number)).ok_or(ClientError::TOKEN_EXPIRED)?;
        let channels = guest.channels.iter().map(|number| call(&plan.channels[*number].name)).collect();
        Ok(Identity { user: guest.user.as_str().into(), channels, ..Default::default() })
    }

    async fn subscribe(&self, _: &Client, request: &SubscribeRequest) -> Result<SubscribeGrant, Refusal> {
        self.think().await;
        Ok(self.channel(&request.channel)?.grant())
    }

    async fn subscribe_server_side(
        &self,
        client: &Client,
        call: &SubscribeCall,
    ) -> Result<SubscribeGrant, Refusal> {
        self.think().await;
        let grant = self.channel(&call.channel)?.grant();
        self.world.granted(&client.id, &call.channel);
        Ok(grant)
    }

    async fn publish(
        &self,
        _: &Client,
        channel: &Channel,
        _: &Bytes,
        _: bool,
    ) -> Result<PublishGrant, Refusal> {
        self.think().await;
        let options = PublishOptions { history: self.channel(channel)?.history, ..Default::default() };
        Ok(PublishGrant { options, ..Default::default() })
    }

    async fn history(&self, _: &Client, channel: &Channel, _: bool) -> Result<HistoryBounds, Refusal> {
        let bounds = self.channel(channel)?.history;
        if bounds.is_kept() { Ok(bounds) } else { Err(ClientError::NOT_AVAILABLE.into()) }
    }

    async fn presence(&self, _: &Client, _: &Channel, _: bool) -> Result<(), Refusal> {
        Ok(())
    }
}

#[async_trait]
impl Hooks for Rules {
    async fn connected(&self, _: &Client) {
        self.think().await;
    }

    /// The last that is asked before the cursor is taken.
    async fn subscribing(&self, client: &Client, channel: &Channel) -> Result<(), Refusal> {
        self.world.granted(&client.id, channel);
        Ok(())
    }

    async fn rpc(&self, _: &Client, _: &str, data: Bytes) -> Result<Bytes, Refusal> {
        self.think().await;
        Ok(data)
    }
}

pub(crate) fn call(channel: &Channel) -> SubscribeCall {
    SubscribeCall {
        channel: channel.clone(),
        info: Bytes::new(),
        data: Bytes::new(),
        expire_at: 0,
        recover_since: None,
        overrides: Default::default(),
        by_token: false,
    }
}
