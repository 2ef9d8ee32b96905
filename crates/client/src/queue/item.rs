use crate::{ClientEvent, Event, Gap, GapCause};

/// What queues hold: data, which may be given up; gaps, which say that something was; and states, of which the
/// latest counts.
pub(crate) trait Item: Sized {
    /// The bytes of data; `None` for what is none.
    fn weight(&self) -> Option<usize>;

    /// Whether it says that something is missing.
    fn is_gap(&self) -> bool;

    /// What says that this was given up.
    fn lost(&self) -> Self;

    /// Takes up a later gap with nothing between; false if the two have to stay apart.
    fn absorb(&mut self, later: &Self) -> bool;

    /// Whether an earlier state is of no interest once there is this one.
    fn supersedes(&self, earlier: &Self) -> bool;
}

/// What an event takes beside its payload, in bytes, roughly.
const OVERHEAD: usize = 128;

impl Item for Event {
    fn weight(&self) -> Option<usize> {
        match self {
            Self::Publication(publication) => Some(OVERHEAD + publication.data.len()),
            Self::Join(info) | Self::Leave(info) => {
                Some(OVERHEAD + info.conn_info.len() + info.chan_info.len())
            }
            _ => None,
        }
    }

    fn is_gap(&self) -> bool {
        matches!(self, Self::Gap(_))
    }

    fn lost(&self) -> Self {
        let publication = matches!(self, Self::Publication(_));
        Self::Gap(Gap {
            missed: Some(u64::from(publication)),
            joins_and_leaves: u64::from(!publication),
            cause: GapCause::SlowReader,
        })
    }

    fn absorb(&mut self, later: &Self) -> bool {
        match (self, later) {
            (Self::Gap(gap), Self::Gap(later)) => {
                gap.absorb(later);
                true
            }
            _ => false,
        }
    }

    fn supersedes(&self, _: &Self) -> bool {
        true
    }
}

impl Item for ClientEvent {
    fn weight(&self) -> Option<usize> {
        match self {
            Self::Message(data) => Some(OVERHEAD + data.len()),
            Self::Channel { event, .. } => event.weight(),
            _ => None,
        }
    }

    fn is_gap(&self) -> bool {
        match self {
            Self::MessagesLost(_) => true,
            Self::Channel { event, .. } => event.is_gap(),
            _ => false,
        }
    }

    fn lost(&self) -> Self {
        match self {
            Self::Channel { channel, event } => {
                Self::Channel { channel: channel.clone(), event: event.lost() }
            }
            _ => Self::MessagesLost(1),
        }
    }

    fn absorb(&mut self, later: &Self) -> bool {
        match (self, later) {
            (Self::MessagesLost(lost), Self::MessagesLost(later)) => {
                *lost += later;
                true
            }
            (Self::Channel { channel, event }, Self::Channel { channel: of, event: later })
                if channel == of =>
            {
                event.absorb(later)
            }
            _ => false,
        }
    }

    fn supersedes(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Channel { channel, .. }, Self::Channel { channel: of, .. }) => channel == of,
            (Self::Health(_), Self::Health(_)) | (Self::Trouble(_), Self::Trouble(_)) => true,
            _ => self.is_link() && earlier.is_link(),
        }
    }
}

impl ClientEvent {
    fn is_link(&self) -> bool {
        matches!(self, Self::Connecting(_) | Self::Connected(_) | Self::Disconnected(_))
    }
}
