use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;

/// Something that is to be told to others.
type Chore = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is to be told to others, in order, while the client goes on. Boxed while there is any: an idle connection
/// has none.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "an empty queue is 32 bytes of every connection, a box 8")]
pub(super) struct Chores(Option<Box<VecDeque<Chore>>>);

impl Chores {
    pub(super) fn add(&mut self, chore: Chore) {
        self.0.get_or_insert_default().push_back(chore);
    }

    pub(super) fn add_first(&mut self, chore: Chore) {
        self.0.get_or_insert_default().push_front(chore);
    }

    /// The one that is being done.
    pub(super) fn first(&mut self) -> Option<&mut Chore> {
        self.0.as_mut()?.front_mut()
    }

    /// The first is done.
    pub(super) fn done(&mut self) {
        let Some(chores) = &mut self.0 else { return };
        chores.pop_front();
        if chores.is_empty() {
            self.0 = None;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |chores| chores.len())
    }

    /// All that are left.
    pub(super) fn take(&mut self) -> VecDeque<Chore> {
        self.0.take().map(|chores| *chores).unwrap_or_default()
    }
}
