//! Accepts connections, and leads each from call to call.

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
use super::control;
use super::faults::{Plan, Then};
use super::http::{Connection, Received, Unread};
use super::response::Response;
use super::wire::carry_out;

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
    while let Ok(true) = exchange(&mut connection, &cloud).await {}
}

/// One call. Whether the connection may go on.
async fn exchange(connection: &mut Connection, cloud: &RefCell<Cloud>) -> Result<bool, Unread> {
    connection.arrival().await?;
    if let Some(then) = struck_unread(connection, cloud).await? {
        return Ok(carry_out(connection, Plan::now(then), false).await?);
    }
    match connection.receive().await {
        Ok(Received { message, keep_alive }) => {
            let plan = cloud.borrow_mut().receive(&message, Timestamp::now());
            Ok(carry_out(connection, plan, keep_alive).await?)
        }
        Err(Unread::Malformed { status, reason }) => {
            let refusal = Response::of(status, "text/plain; charset=utf-8", reason);
            Ok(carry_out(connection, Plan::now(Then::Answer(refusal)), false).await?)
        }
        Err(ended) => Err(ended),
    }
}

/// What befalls the call that is about to be read. Whether it is a control call must be known all the same, or
/// nobody could end such a fault: its first bytes are looked at and left where they are.
async fn struck_unread(connection: &Connection, cloud: &RefCell<Cloud>) -> io::Result<Option<Then>> {
    if !cloud.borrow().faults.may_strike_unread() {
        return Ok(None);
    }
    let start = connection.peek().await?;
    if start.is_empty() || control::is_control(&start) {
        return Ok(None);
    }
    Ok(cloud.borrow_mut().faults.before_read(Timestamp::now()))
}
