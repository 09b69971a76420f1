//! Alerts: what the other side of a connection has against this one.

use std::io;

use rustls::AlertDescription;

/// An error of a connection; if it is an alert, in the words of Go's `crypto/tls`, which people look for in logs:
/// `remote error: tls: bad certificate`.
pub fn told(error: io::Error) -> io::Error {
    match words(&error) {
        Some(words) => io::Error::new(error.kind(), format!("remote error: tls: {words}")),
        None => error,
    }
}

fn words(error: &io::Error) -> Option<&'static str> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::AlertReceived(alert) = inner else {
        return None;
    };
    Some(match alert {
        AlertDescription::BadCertificate => "bad certificate",
        AlertDescription::UnsupportedCertificate => "unsupported certificate",
        AlertDescription::CertificateRevoked => "revoked certificate",
        AlertDescription::CertificateExpired => "expired certificate",
        AlertDescription::CertificateUnknown => "unknown certificate",
        AlertDescription::CertificateRequired => "certificate required",
        AlertDescription::UnknownCA => "unknown certificate authority",
        AlertDescription::AccessDenied => "access denied",
        AlertDescription::HandshakeFailure => "handshake failure",
        AlertDescription::ProtocolVersion => "protocol version not supported",
        _ => return None,
    })
}
