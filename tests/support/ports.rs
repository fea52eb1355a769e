//! Ports for servers that a test starts by number.

use std::net::TcpListener;

/// Below what the kernel gives to connections, which come and go in the tests beside this one.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
