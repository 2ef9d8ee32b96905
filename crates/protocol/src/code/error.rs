use crate::message::Error;

/// Why the protocol lets a command fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum ErrorCode {
    /// The server failed.
    Internal = 100,
    /// The connection is not allowed to do anything.
    Unauthorized = 101,
    /// The channel, or its namespace, is not known.
    UnknownChannel = 102,
    /// The user is not allowed to do this.
    PermissionDenied = 103,
    /// The method is not known.
    MethodNotFound = 104,
    /// The client is subscribed already.
    AlreadySubscribed = 105,
    /// A limit of the connection is reached.
    LimitExceeded = 106,
    /// The request is not valid.
    BadRequest = 107,
    /// The channel or the server does not offer this.
    NotAvailable = 108,
    /// The token has expired; the SDK gets another.
    TokenExpired = 109,
    /// The connection or subscription expires in the past.
    Expired = 110,
    /// The client asks too often.
    TooManyRequests = 111,
    /// The stream no longer reaches back to the position.
    UnrecoverablePosition = 112,
    /// Another page is still being read.
    ConcurrentPagination = 113,
}

impl ErrorCode {
    /// All of them, in ascending order.
    pub const ALL: &[Self] = &[
        Self::Internal,
        Self::Unauthorized,
        Self::UnknownChannel,
        Self::PermissionDenied,
        Self::MethodNotFound,
        Self::AlreadySubscribed,
        Self::LimitExceeded,
        Self::BadRequest,
        Self::NotAvailable,
        Self::TokenExpired,
        Self::Expired,
        Self::TooManyRequests,
        Self::UnrecoverablePosition,
        Self::ConcurrentPagination,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The text on the wire.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Internal => "internal server error",
            Self::Unauthorized => "unauthorized",
            Self::UnknownChannel => "unknown channel",
            Self::PermissionDenied => "permission denied",
            Self::MethodNotFound => "method not found",
            Self::AlreadySubscribed => "already subscribed",
            Self::LimitExceeded => "limit exceeded",
            Self::BadRequest => "bad request",
            Self::NotAvailable => "not available",
            Self::TokenExpired => "token expired",
            Self::Expired => "expired",
            Self::TooManyRequests => "too many requests",
            Self::UnrecoverablePosition => "unrecoverable position",
            Self::ConcurrentPagination => "concurrent pagination",
        }
    }

    /// Whether the same command may succeed later.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Internal | Self::TooManyRequests | Self::ConcurrentPagination)
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        error(code)
    }
}

/// The error reply of a code.
pub fn error(code: ErrorCode) -> Error {
    Error { code: code.code(), message: code.message().to_owned(), temporary: code.is_temporary() }
}

impl Error {
    /// An error of the application's own, such as a proxy hook returns.
    ///
    /// # Errors
    /// [`InvalidErrorCode`] if the code is not one of 400 to 1999, which the protocol leaves to applications.
    pub fn custom(code: u32, message: impl Into<String>, temporary: bool) -> Result<Self, InvalidErrorCode> {
        if !(400..=1999).contains(&code) {
            return Err(InvalidErrorCode(code));
        }
        Ok(Self { code, message: message.into(), temporary })
    }
}

/// A code that is not the application's to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("error code is {0}; expected 400 to 1999")]
pub struct InvalidErrorCode(u32);
