//! The clients' side: connections, HTTP, and the way of a request to its service.
//!
//! [`connections`] accepts and knows TLS; [`authority`] mends what HTTP/2 would refuse; [`port`] serves each connection and
//! sends its requests to the [`fast_path`] or through the [`router`]: gRPC's services behind the [`interceptor`], the same as
//! JSON ([`gateway`]), and the pages ([`http`]).

pub(in crate::server) mod authority;
pub(in crate::server) mod connections;
pub(in crate::server) mod fast_path;
pub(in crate::server) mod gateway;
pub(in crate::server) mod http;
pub(in crate::server) mod interceptor;
mod metrics_page;
pub(in crate::server) mod port;
pub(in crate::server) mod router;
mod status;
