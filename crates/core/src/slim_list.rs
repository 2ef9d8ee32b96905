/// Makes room for one more in a list that is short for most of many who have one: a `Vec` would take room for four at
/// once. It grows by half, so that a long one is still cheap to grow.
///
/// ```
/// let mut list = Vec::new();
/// tidegate_core::reserve_one(&mut list);
/// list.push([0; 100]);
/// assert_eq!(list.capacity(), 1);
/// ```
pub fn reserve_one<T>(list: &mut Vec<T>) {
    if list.len() == list.capacity() {
        list.reserve_exact(1 + list.len() / 2);
    }
}
