//! WebSocket frames for Tidegate, on tokio-tungstenite.
