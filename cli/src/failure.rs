//! Why a command failed, and the exit codes: the one place that knows them.

use std::{error::Error, fmt, io, process::ExitCode};

use isthmus_control_plane::{
    causes::with_causes,
    socket::{ApiError, CallError},
};

/// Why a command failed. `docs/reference.md` promises a code for each.
#[derive(Debug)]
pub(crate) enum Failure {
    /// 0: whoever read the output had enough of it.
    Unread,
    /// 1: the input is invalid; the text is empty when each error was printed already.
    Invalid(String),
    /// 2: the command line is wrong.
    Usage(String),
    /// 3: there is no instance with this state directory.
    NoInstance(String),
    /// 4: a peer says no, or the token is used, expired or forged.
    Refused(String),
    /// 5: Isthmus or the machine failed.
    Internal(String),
    /// 6: the mesh is not as it should be; the text is empty when that was printed already.
    Unhealthy(String),
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Unread => 0,
            Self::Invalid(_) => 1,
            Self::Usage(_) => 2,
            Self::NoInstance(_) => 3,
            Self::Refused(_) => 4,
            Self::Internal(_) => 5,
            Self::Unhealthy(_) => 6,
        }
    }

    /// An error of the input, with its causes.
    pub(crate) fn invalid(error: &(dyn Error + 'static)) -> Self {
        Self::Invalid(with_causes(error))
    }

    /// An error of the machine, with its causes.
    pub(crate) fn internal(error: &(dyn Error + 'static)) -> Self {
        Self::Internal(with_causes(error))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread => Ok(()),
            Self::Invalid(text)
            | Self::Usage(text)
            | Self::NoInstance(text)
            | Self::Refused(text)
            | Self::Internal(text)
            | Self::Unhealthy(text) => f.write_str(text),
        }
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::NoInstance { .. } => Self::NoInstance(error.to_string()),
            CallError::Api(ApiError::Invalid(text) | ApiError::NotFound(text)) => Self::Invalid(text),
            CallError::Api(ApiError::Refused(text)) => Self::Refused(text),
            CallError::Api(ApiError::Internal(text)) => Self::Internal(text),
            CallError::NotAllowed { .. } | CallError::Broken { .. } => Self::Internal(error.to_string()),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::internal(&error),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        match error.io_error_kind() {
            Some(io::ErrorKind::BrokenPipe) => Self::Unread,
            _ => Self::internal(&error),
        }
    }
}

/// Says what went wrong, and ends with its code.
#[expect(clippy::print_stderr, reason = "errors belong there")]
pub(crate) fn exit_code(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    let text = failure.to_string();
    if !text.is_empty() {
        eprintln!("error: {text}");
    }
    ExitCode::from(failure.code())
}

/// Prints what the parser of arguments has to say: help and version are answers, all else is an error.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Who does not read this needs no error about it.
    let _ = error.print();
    match error.exit_code() {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::from(Failure::Usage(String::new()).code()),
    }
}
