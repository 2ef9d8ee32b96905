#[cfg(feature = "tls")]
mod tls;

use std::future::poll_fn;
use std::task::Waker;

use tidegate_core::outbox::Framing;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use super::*;

async fn pair() -> (Io, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    (server.expect("accepted").0.into(), client.expect("connected"))
}

fn batch(messages: &[usize]) -> (Batch, Vec<u8>) {
    let mut batch = Batch::new();
    batch.begin(Framing::NONE);
    for (i, len) in messages.iter().enumerate() {
        batch.message(&vec![i as u8; *len].into());
    }
    let bytes: Vec<u8> = batch.pieces().flatten().copied().collect();
    (batch, bytes)
}

/// Writes until nothing more is taken; returns the bytes taken.
fn fill(io: &mut Io, batch: &Batch) -> usize {
    let mut cx = Context::from_waker(Waker::noop());
    let mut sum = 0;
    loop {
        match io.poll_write(&mut cx, batch) {
            Poll::Ready(taken) => sum += taken.expect("open"),
            Poll::Pending => return sum,
        }
    }
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn sockets_are_set_up() {
    let (io, _client) = pair().await;
    let Kind::Tcp(stream) = &io.0 else { panic!("a TCP socket") };
    let socket = SockRef::from(stream);
    io.tune(&Options { nodelay: false, not_sent_low_water: 0, ..Options::default() });
    assert_ne!(socket.tcp_notsent_lowat().expect("Linux"), 64 * 1024);
    assert!(!stream.nodelay().expect("an option"));
    io.tune(&Options::default());
    assert_eq!(socket.tcp_notsent_lowat().expect("Linux"), 64 * 1024);
    assert!(stream.nodelay().expect("an option"));
}

#[tokio::test]
async fn a_full_socket_is_not_writable_until_it_is_read() {
    for messages in [&[3000; 20][..], &[20_000; 5], &[5000; 100]] {
        let (mut io, mut client) = pair().await;
        io.tune(&Options::default());
        poll_fn(|cx| io.poll_writable(cx)).await.expect("open");
        let (batch, _) = batch(messages);
        let taken = fill(&mut io, &batch);
        assert!(taken > 0, "{messages:?}");
        let mut cx = Context::from_waker(Waker::noop());
        assert!(io.poll_writable(&mut cx).is_pending());
        let mut read = vec![0; taken];
        client.read_exact(&mut read).await.expect("open");
        poll_fn(|cx| io.poll_writable(cx)).await.expect("open");
        assert!(fill(&mut io, &batch) > 0);
    }
}

#[tokio::test]
async fn a_short_write_says_that_the_socket_is_full() {
    let (mut io, _client) = pair().await;
    poll_fn(|cx| io.poll_writable(cx)).await.expect("open");
    let (batch, bytes) = batch(&[1 << 20; 16]);
    let mut cx = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(taken)) = io.poll_write(&mut cx, &batch) else { panic!("room") };
    assert!(taken < bytes.len());
    let Kind::Tcp(stream) = &io.0 else { panic!("a TCP socket") };
    // The next try makes no system call: the readiness is gone.
    let tried = stream.try_io(Interest::WRITABLE, || Ok(()));
    assert!(tried.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
}

#[tokio::test]
async fn other_streams_take_what_fits_and_send_it_all() {
    let (stream, mut client) = tokio::io::duplex(100);
    let mut io = Io::other(tokio::io::BufWriter::with_capacity(1000, stream));
    assert!(!io.is_tcp());
    let (batch, bytes) = batch(&[10_000, 5000, 20_000, 10]);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(io.poll_write(&mut cx, &batch), Poll::Ready(Ok(STAGED))));
    assert!(io.poll_write(&mut cx, &batch).is_pending());
    assert!(io.poll_writable(&mut cx).is_pending());
    let reading = tokio::spawn(async move {
        let mut received = Vec::new();
        client.read_to_end(&mut received).await.map(|_| received)
    });
    let mut taken = STAGED;
    while taken < bytes.len() {
        // What is left, as an outbox would fill it again.
        let mut rest = Batch::new();
        rest.begin(Framing::NONE);
        rest.message(&bytes[taken..].to_vec().into());
        taken += poll_fn(|cx| io.poll_write(cx, &rest)).await.expect("open");
    }
    poll_fn(|cx| io.poll_writable(cx)).await.expect("open");
    let Kind::Other(staged) = &io.0 else { panic!("another stream") };
    assert_eq!((staged.buffer.capacity(), staged.unflushed), (0, false));
    poll_fn(|cx| io.poll_shutdown(cx)).await.expect("open");
    assert!(reading.await.expect("no panic").expect("open") == bytes);
}
