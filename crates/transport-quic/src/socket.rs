use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// A UDP socket with large buffers, for both families where it listens everywhere.
pub(crate) fn bind(address: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    // More than the system allows is not an error there: it gives what it has.
    socket.set_recv_buffer_size(buffer)?;
    socket.set_send_buffer_size(buffer)?;
    let given = socket.recv_buffer_size()?;
    if given < buffer {
        tracing::warn!(
            given,
            wanted = buffer,
            "the UDP socket's receive buffer is smaller than asked for, so that packets of many clients at once \
             may be dropped: raise net.core.rmem_max and net.core.wmem_max (sysctl)"
        );
    }
    socket.bind(&address.into())?;
    Ok(socket.into())
}
