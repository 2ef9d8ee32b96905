//! Tidegate's heart: logs, cursors, outboxes and the traits around them.

mod backpressure;
mod budget;
pub mod call;
mod channel;
mod disconnect;
mod entry;
mod fanout;
mod health;
mod log;
pub mod outbox;
mod position;
mod publication;
pub mod reader;
mod segment;
mod subscription;
mod sync;
pub mod transport;
mod window;

pub use backpressure::{Backpressure, CloseConnection, EndSubscription, SkipToLatest, SkipToOldest, Verdict};
pub use budget::Budget;
pub use channel::Channel;
pub use disconnect::Disconnect;
pub use entry::{Entry, FORMATS, Format, Kind};
pub use fanout::Fanout;
pub use health::Health;
pub use log::{Behind, Cursor, End, Figures, Gap, Log, Owner, Refused};
pub use position::Position;
pub use publication::{ClientInfo, Publication};
pub use reader::Reader;
pub use subscription::Subscription;
pub use window::Window;
