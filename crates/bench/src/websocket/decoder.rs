use super::{CLOSE, FIN, KEPT, PING, PONG};

/// What a server sends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    /// A whole message, or, where messages go over frames, a piece.
    Data(&'a [u8]),
    Ping(&'a [u8]),
    /// With its code, or 1005 for none, and its reason.
    Close(u16, &'a str),
}

/// Finds frames in what a socket brings. Only a frame that is cut off is kept.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    cut: Vec<u8>,
    /// What has come of a message in fragments; `None`: no such message is under way.
    fragments: Option<Vec<u8>>,
    /// Frames are pieces of a stream: fragments need no joining.
    pieces: bool,
}

impl Decoder {
    pub(crate) fn new(pieces: bool) -> Self {
        Self { pieces, ..Self::default() }
    }

    /// Gives every frame that is whole with `bytes` to `take`.
    pub(crate) fn feed<E: From<&'static str>>(
        &mut self,
        mut bytes: &[u8],
        mut take: impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        while !self.cut.is_empty() {
            let whole = header(&self.cut)?.map_or(self.cut.len() + 1, |header| header.whole());
            let more = bytes.len().min(whole - self.cut.len());
            self.cut.extend_from_slice(&bytes[..more]);
            bytes = &bytes[more..];
            match header(&self.cut)? {
                Some(header) if self.cut.len() == header.whole() => {
                    let mut frame = std::mem::take(&mut self.cut);
                    self.frame(header, &frame[header.length..], &mut take)?;
                    if frame.capacity() <= KEPT {
                        frame.clear();
                        self.cut = frame;
                    }
                }
                _ if bytes.is_empty() => return Ok(()),
                _ => {}
            }
        }
        while let Some(header) = header(bytes)?
            && let Some((frame, rest)) = bytes.split_at_checked(header.whole())
        {
            bytes = rest;
            self.frame(header, &frame[header.length..], &mut take)?;
        }
        self.cut.extend_from_slice(bytes);
        Ok(())
    }

    #[inline]
    fn frame<E: From<&'static str>>(
        &mut self,
        header: Header,
        payload: &[u8],
        take: &mut impl FnMut(Frame<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        match header.first & 0x0f {
            0..3 if self.pieces || header.first & FIN != 0 && self.fragments.is_none() => {
                take(Frame::Data(payload))
            }
            0..3 => {
                let fragments = self.fragments.get_or_insert_default();
                fragments.extend_from_slice(payload);
                if header.first & FIN == 0 {
                    return Ok(());
                }
                let whole = self.fragments.take().unwrap_or_default();
                take(Frame::Data(&whole))
            }
            PING => take(Frame::Ping(payload)),
            PONG => Ok(()),
            CLOSE => match payload.split_first_chunk() {
                Some((code, reason)) => {
                    take(Frame::Close(u16::from_be_bytes(*code), str::from_utf8(reason).unwrap_or("")))
                }
                None => take(Frame::Close(NO_CODE, "")),
            },
            _ => Err("a WebSocket frame with an unknown opcode".into()),
        }
    }
}

/// What stands before a frame's payload.
#[derive(Clone, Copy)]
struct Header {
    first: u8,
    /// Of the header itself.
    length: usize,
    payload: usize,
}

impl Header {
    fn whole(self) -> usize {
        self.length + self.payload
    }
}

/// `None`: more bytes are needed.
#[inline]
fn header<E: From<&'static str>>(bytes: &[u8]) -> Result<Option<Header>, E> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err("a WebSocket frame with reserved bits, though no extension was asked for".into());
    }
    let (length, payload) = match second {
        0..126 => (2, usize::from(*second)),
        126 => match rest.first_chunk() {
            Some(length) => (4, usize::from(u16::from_be_bytes(*length))),
            None => return Ok(None),
        },
        127 => match rest.first_chunk() {
            Some(length) => (10, u64::from_be_bytes(*length) as usize),
            None => return Ok(None),
        },
        128.. => return Err("a masked WebSocket frame from a server".into()),
    };
    if payload > LARGEST {
        return Err("a WebSocket frame of more than 1 GiB".into());
    }
    Ok(Some(Header { first: *first, length, payload }))
}

/// No server means more than this, in bytes.
const LARGEST: usize = 1 << 30;
/// The close code of a close frame that has none (RFC 6455 §7.1.5).
const NO_CODE: u16 = 1005;
