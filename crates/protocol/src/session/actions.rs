//! What a session wants of its connection.

use std::collections::VecDeque;

use tidegate_core::protocol::Action;

/// Actions in order. Boxed while there are any: an idle session keeps no room for what it may have to do.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "an empty queue is 32 bytes of every connection, a box 8")]
pub(super) struct Actions(Option<Box<VecDeque<Action>>>);

impl Actions {
    pub(super) fn push_back(&mut self, action: Action) {
        self.0.get_or_insert_default().push_back(action);
    }

    pub(super) fn pop_front(&mut self) -> Option<Action> {
        let next = self.0.as_mut()?.pop_front();
        if self.0.as_ref().is_some_and(|actions| actions.is_empty()) {
            self.0 = None;
        }
        next
    }
}
