//! Assembles Tidegate: HTTP API, configuration, metrics, drain; and the binary.
