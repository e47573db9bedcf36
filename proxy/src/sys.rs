//! What the kernel knows and the standard library does not ask. The only module with `unsafe`.

#![allow(unsafe_code, reason = "one ioctl on a borrowed socket, and one prctl")]

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

/// How many bytes were written to a TCP socket and not acknowledged by the other end's kernel. It can
/// still be asked after the connection was reset.
///
/// # Errors
/// When the system refuses.
pub(crate) fn unacknowledged(socket: &impl AsFd) -> io::Result<usize> {
    let mut count: libc::c_int = 0;
    // SAFETY: the descriptor is open for as long as it is borrowed, and the request writes one int.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut count) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Asks for no huge pages in this process. The allocator wants them, and a proxy that is idle would hold
/// 10 MB for the 2 MB that it uses.
///
/// # Errors
/// When the system refuses.
pub fn disable_huge_pages() -> io::Result<()> {
    // SAFETY: this option reads its arguments as numbers, and touches no memory of ours.
    let result = unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1_u64, 0_u64, 0_u64, 0_u64) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::unacknowledged;

    #[test]
    fn what_a_closed_end_never_took_is_known() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        near.write_all(b"taken").unwrap();
        far.read_exact(&mut [0; 5]).unwrap();
        far.write_all(b"answer").unwrap();
        near.read_exact(&mut [0; 6]).unwrap();
        assert_eq!(unacknowledged(&near).unwrap(), 0);
        drop(far);
        // The write meets a socket that is gone, and is answered by a reset; the close came before it.
        near.write_all(b"too late").unwrap();
        assert_eq!(near.read(&mut [0; 1]).unwrap(), 0);
        assert_eq!(unacknowledged(&near).unwrap(), 8);
    }
}
