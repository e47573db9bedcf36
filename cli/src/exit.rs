//! How the program ends: the documented exit codes, and what is said on standard error.

use std::{error::Error, process::ExitCode};

/// Why a command did not do what was asked.
#[derive(Debug)]
pub enum Exit {
    /// The input is invalid; what is wrong with it was said already.
    Invalid,
    /// The input is invalid.
    Input(Box<dyn Error + Send + Sync>),
    /// There is no instance with this state directory.
    NoInstance(Box<dyn Error + Send + Sync>),
    /// A peer refused, or the token is used, expired or forged.
    Refused(Box<dyn Error + Send + Sync>),
    /// An error of Isthmus or of the machine.
    Internal(Box<dyn Error + Send + Sync>),
}

impl Exit {
    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Invalid | Self::Input(_) => 1,
            Self::NoInstance(_) => 3,
            Self::Refused(_) => 4,
            Self::Internal(_) => 5,
        })
    }

    /// Says what is wrong, with its causes, on one line.
    pub fn report(&self) {
        let error = match self {
            Self::Invalid => return,
            Self::Input(error)
            | Self::NoInstance(error)
            | Self::Refused(error)
            | Self::Internal(error) => error,
        };
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let cause_text = cause.to_string();
            if !text.contains(&cause_text) {
                text = format!("{text}: {cause_text}");
            }
            source = cause.source();
        }
        eprintln!("isthmus: {}", text.replace('\n', " "));
    }
}
