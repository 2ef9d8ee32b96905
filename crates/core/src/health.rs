/// How a node is, as it tells its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// All is well.
    Serving,
    /// It works, but not as it should.
    Degraded,
    /// It is about to stop; connect elsewhere.
    Draining,
}
