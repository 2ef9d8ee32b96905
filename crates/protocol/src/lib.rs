//! The Centrifuge client protocol: messages, codecs and the sans-IO session.
