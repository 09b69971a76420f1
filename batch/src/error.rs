//! What can go wrong, and who must act.

use datafusion::common::DataFusionError;

/// Every error ends the program with exit code 1 and one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The SQL, the data or the limits: fix the query, the file or the flag that the text names.
    #[error("{}", message(.0))]
    Query(#[from] DataFusionError),
    /// A file of ours could not be read or written.
    #[error("cannot {action} {path}: {error}")]
    File {
        action: &'static str,
        path: String,
        error: std::io::Error,
    },
    /// The result could not be written to stdout.
    #[error("cannot write the result: {0}")]
    Output(std::io::Error),
    /// What was asked for makes no sense; the text says what to do.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    pub fn file(action: &'static str, path: &std::path::Path, error: std::io::Error) -> Error {
        Error::File {
            action,
            path: path.display().to_string(),
            error,
        }
    }
}

/// DataFusion's text on one line, without the layers' names that it puts in front.
fn message(error: &DataFusionError) -> String {
    if full_disk(error) {
        return format!("no space is left on the disk: {}", one_line(&error.strip_backtrace()));
    }
    let text = match error {
        DataFusionError::Collection(errors) => errors.iter().map(message).collect::<Vec<_>>().join("; "),
        DataFusionError::Context(context, inner) => format!("{context}: {}", message(inner)),
        DataFusionError::Diagnostic(_, inner) => message(inner),
        DataFusionError::Shared(inner) => message(inner),
        DataFusionError::Execution(text) | DataFusionError::Plan(text) => text.clone(),
        other => other.strip_backtrace(),
    };
    one_line(&text)
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a write failed because the disk is full, however deep the error is that says so.
fn full_disk(error: &DataFusionError) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let full = |error: &std::io::Error| {
            matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            )
        };
        if error.downcast_ref::<std::io::Error>().is_some_and(full) {
            return true;
        }
        cause = error.source();
    }
    false
}
