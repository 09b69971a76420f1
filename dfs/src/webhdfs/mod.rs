use std::sync::Arc;
pub fn namenode_router(_n: Arc<crate::namenode::state::NameNode>, _rpc: std::net::SocketAddr) -> axum::Router { axum::Router::new() }
pub fn datanode_router(_n: Arc<crate::datanode::DataNode>) -> axum::Router { axum::Router::new() }
