mod connecting;
mod living;
mod server_side;
mod subscribing;
mod world;
