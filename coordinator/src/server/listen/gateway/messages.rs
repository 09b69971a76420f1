//! JSON to messages and back, by the protocol's description.

use bytes::{Bytes, BytesMut};
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MethodDescriptor, SerializeOptions};
use serde_json::Value;

/// What a call takes and gives.
#[derive(Debug, Clone)]
pub(super) struct Method(MethodDescriptor);

pub(super) struct Messages(DescriptorPool);

impl Messages {
    pub(super) fn new() -> Self {
        Self(DescriptorPool::decode(coordinator_wire::DESCRIPTORS).expect("the build has checked the descriptions"))
    }

    pub(super) fn method(&self, service: &str, method: &str) -> Option<Method> {
        let service = self.0.get_service_by_name(service)?;
        service.methods().find(|found| found.name() == method).map(Method)
    }
}

impl Method {
    /// The call's path in gRPC.
    pub(super) fn path(&self) -> String {
        format!("/{}/{}", self.0.parent_service().full_name(), self.0.name())
    }

    pub(super) fn takes_many(&self) -> bool {
        self.0.is_client_streaming()
    }

    pub(super) fn gives_many(&self) -> bool {
        self.0.is_server_streaming()
    }

    /// A request as gRPC frames it; the error is for the client.
    pub(super) fn request(&self, json: Value) -> Result<Bytes, String> {
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let message = DynamicMessage::deserialize_with_options(self.0.input(), json, &options);
        let message = message.map_err(|error| error.to_string())?.encode_to_vec();
        let length = u32::try_from(message.len()).map_err(|_| "the request is too large".to_owned())?;
        let mut frame = BytesMut::with_capacity(5 + message.len());
        // Not compressed.
        frame.extend_from_slice(&[0]);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&message);
        Ok(frame.freeze())
    }

    /// An answer as JSON; `None` where it is no message, which our own services never send.
    pub(super) fn response(&self, message: &[u8]) -> Option<Value> {
        let message = DynamicMessage::decode(self.0.output(), message).ok()?;
        let options = SerializeOptions::new()
            .use_proto_field_name(true)
            .skip_default_fields(true)
            .stringify_64_bit_integers(true);
        message
            .serialize_with_options(serde_json::value::Serializer, &options)
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use coordinator_wire::etcdserverpb as pb;
    use serde_json::json;

    use super::*;

    fn method(service: &str, method: &str) -> Method {
        Messages::new().method(service, method).expect("it is known")
    }

    fn range(json: Value) -> pb::RangeRequest {
        let frame = method("etcdserverpb.KV", "Range").request(json).expect("a request");
        pb::RangeRequest::decode(&frame[5..]).expect("a message")
    }

    #[test]
    fn questions_are_taken_in_every_spelling() {
        let expected = pb::RangeRequest {
            key: "foo".into(),
            range_end: "\0".into(),
            limit: 5,
            sort_order: pb::range_request::SortOrder::Descend.into(),
            keys_only: true,
            ..Default::default()
        };
        let snake = json!({"key":"Zm9v","range_end":"AA==","limit":"5","sort_order":"DESCEND","keys_only":true});
        let camel = json!({"key":"Zm9v","rangeEnd":"AA==","limit":5,"sortOrder":2,"keysOnly":true,"unknown":1});
        assert_eq!(range(snake), expected);
        assert_eq!(range(camel), expected);
        assert!(
            method("etcdserverpb.KV", "Range")
                .request(json!({"limit":"many"}))
                .is_err()
        );
    }

    #[test]
    fn answers_leave_out_what_is_zero_and_write_large_numbers_as_text() {
        let response = pb::RangeResponse {
            header: Some(pb::ResponseHeader {
                revision: 7,
                ..Default::default()
            }),
            kvs: vec![coordinator_wire::mvccpb::KeyValue {
                key: "foo".into(),
                version: 1,
                ..Default::default()
            }],
            ..Default::default()
        };
        let json = method("etcdserverpb.KV", "Range").response(&response.encode_to_vec());
        assert_eq!(
            json,
            Some(json!({"header":{"revision":"7"},"kvs":[{"key":"Zm9v","version":"1"}]}))
        );
    }
}
