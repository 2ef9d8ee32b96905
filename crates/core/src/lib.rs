//! Tidegate's heart: logs, cursors, outboxes and the traits around them.
