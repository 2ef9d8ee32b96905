use std::collections::VecDeque;
use std::fmt;

/// A queue that is empty most of its time: then it is a pointer, and holds no memory. For what each of many
/// connections may have, and few have at once.
#[expect(clippy::box_collection, reason = "an empty queue is 32 bytes, a box 8")]
pub struct SlimQueue<T>(Option<Box<VecDeque<T>>>);

impl<T> SlimQueue<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Self(None)
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        // With the last item went what held it.
        self.0.is_none()
    }

    /// Items in it.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |items| items.len())
    }

    /// Adds an item behind all others.
    pub fn push_back(&mut self, item: T) {
        self.0.get_or_insert_default().push_back(item);
    }

    /// Adds an item before all others.
    pub fn push_front(&mut self, item: T) {
        self.0.get_or_insert_default().push_front(item);
    }

    /// The first item.
    pub fn front_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.front_mut()
    }

    /// The last item.
    pub fn back_mut(&mut self) -> Option<&mut T> {
        self.0.as_mut()?.back_mut()
    }

    /// Takes the first item.
    pub fn pop_front(&mut self) -> Option<T> {
        let items = self.0.as_mut()?;
        let item = items.pop_front();
        if items.is_empty() {
            self.0 = None;
        }
        item
    }

    /// Drops all items.
    pub fn clear(&mut self) {
        self.0 = None;
    }
}

impl<T> Default for SlimQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for SlimQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().flat_map(|items| items.iter())).finish()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::SlimQueue;

    #[test]
    fn an_empty_one_is_a_pointer() {
        assert_eq!(size_of::<SlimQueue<[u8; 100]>>(), size_of::<usize>());
        let mut queue = SlimQueue::new();
        queue.push_back(2);
        queue.push_back(3);
        queue.push_front(1);
        assert_eq!(format!("{queue:?}"), "[1, 2, 3]");
        assert_eq!((queue.len(), queue.front_mut().copied(), queue.back_mut()), (3, Some(1), Some(&mut 3)));
        assert_eq!([(); 4].map(|()| queue.pop_front()), [Some(1), Some(2), Some(3), None]);
        assert!(queue.is_empty() && queue.0.is_none());
    }
}
