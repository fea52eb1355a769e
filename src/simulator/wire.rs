//! Puts on the wire what was planned.

use std::io;

use jiff::Timestamp;
use tokio::time::sleep;

use super::faults::{Huge, Part, Plan, Then, skewed};
use super::http::Connection;
use super::response::{Framing, Response};

/// What a huge body is sent in, so that its size costs no memory.
const FILLER: [u8; 16 * 1024] = [b'x'; 16 * 1024];

/// Whether the connection may go on.
pub async fn carry_out(connection: &mut Connection, plan: Plan, keep_alive: bool) -> io::Result<bool> {
    if !plan.delay.is_zero() {
        sleep(plan.delay).await;
    }
    let date = skewed(Timestamp::now(), plan.skew);
    match plan.then {
        Then::Answer(response) => {
            connection.send(&response.encode(keep_alive, date)).await?;
            return Ok(keep_alive);
        }
        Then::Cut(response, part) => connection.send(&cut(&response, part, date)).await?,
        Then::Huge(huge) => stream(connection, &huge, date).await?,
        Then::Hang => connection.wait_for_hang_up().await,
        Then::Reset => connection.reset_when_closed()?,
        Then::Close => {}
    }
    Ok(false)
}

fn cut(response: &Response, part: Part, date: Timestamp) -> Vec<u8> {
    let mut bytes = response.encode(false, date);
    let body = response.body.len();
    let head = bytes.len() - body;
    bytes.truncate(match part {
        Part::HalfOfHead => head / 2,
        Part::HalfOfBody => head + body / 2,
    });
    bytes
}

async fn stream(connection: &mut Connection, huge: &Huge, date: Timestamp) -> io::Result<()> {
    let Huge { opening, filler, closing, chunked } = huge;
    let length = (opening.body.len() + closing.len()) as u64 + filler;
    let framing = if *chunked { Framing::Chunked } else { Framing::Counted(length) };
    connection.send(&opening.head(&framing, false, date)).await?;
    send(connection, &opening.body, *chunked).await?;
    let mut left = *filler;
    while left > 0 {
        let length = left.min(FILLER.len() as u64);
        send(connection, &FILLER[..length as usize], *chunked).await?;
        left -= length;
    }
    send(connection, closing, *chunked).await?;
    if *chunked { connection.send(b"0\r\n\r\n").await } else { Ok(()) }
}

async fn send(connection: &mut Connection, part: &[u8], chunked: bool) -> io::Result<()> {
    if !chunked {
        return connection.send(part).await;
    }
    let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
    chunk.extend_from_slice(part);
    chunk.extend_from_slice(b"\r\n");
    connection.send(&chunk).await
}
