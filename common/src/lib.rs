//! What more than one role of Podfleet needs: domain types, wire format, topology, store, cache, blobs, configuration
//! and telemetry. Nothing here knows how a task is done or when a podcast advances: that is `worker` and `collector`.

pub mod access;
pub mod amqp;
pub mod backoff;
pub mod blobs;
pub mod cache;
pub mod class;
pub mod config;
pub mod crash;
pub mod durations;
pub mod language;
pub mod order;
pub mod outbound;
pub mod pause;
pub mod plan;
pub mod policy;
#[cfg(feature = "private-servers")]
pub mod private;
pub mod process;
pub mod publisher;
pub mod request;
pub mod store;
pub mod telemetry;
pub mod topology;
pub mod webhook;
pub mod wire;
pub mod work;
