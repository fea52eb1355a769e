//! Accepts connections and puts on the wire what the cloud and the faults decide.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use std::{io, mem};

use jiff::Timestamp;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::spawn_local;
use tokio::time::sleep;

use super::cloud::Cloud;
use super::faults::Then;
use super::http::{Connection, Received, Unread};
use super::response::Response;

/// Connections the kernel may hold until they are accepted; load tests open hundreds at once.
const BACKLOG: u32 = 1024;

pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG)
}

/// Never returns.
pub async fn accept(listener: TcpListener, cloud: Rc<RefCell<Cloud>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => mem::drop(spawn_local(converse(stream, Rc::clone(&cloud)))),
            // Out of file descriptors, most likely: some may come back.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn converse(stream: TcpStream, cloud: Rc<RefCell<Cloud>>) {
    // Without it an answer may wait 40 ms for the client's acknowledgement; nothing breaks if it fails.
    let _ = stream.set_nodelay(true);
    let mut connection = Connection::new(stream);
    loop {
        match connection.receive().await {
            Ok(received) => match answer(&mut connection, received, &cloud).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return,
            },
            Err(Unread::Malformed { status, reason }) => {
                let refusal = Response::text(status, reason).encode(false);
                // The client may be gone already: then nobody misses the answer.
                let _ = connection.send(&refusal).await;
                return;
            }
            Err(Unread::Ended | Unread::Io(_)) => return,
        }
    }
}

/// Whether the connection may go on.
async fn answer(connection: &mut Connection, received: Received, cloud: &RefCell<Cloud>) -> io::Result<bool> {
    let plan = cloud.borrow_mut().receive(&received.message, Timestamp::now());
    if !plan.delay.is_zero() {
        sleep(plan.delay).await;
    }
    match plan.then {
        Then::Answer(response) => {
            connection.send(&response.encode(received.keep_alive)).await?;
            Ok(received.keep_alive)
        }
        Then::Hang => {
            connection.wait_for_hang_up().await;
            Ok(false)
        }
        Then::Close => Ok(false),
    }
}
