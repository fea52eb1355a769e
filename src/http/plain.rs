//! Plain calls for our own commands: a health check, the demo's tour.

use std::time::Duration;

use awc::http::{Method, header};

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    pub body: String,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAnswer(String);

/// GETs `url` within 5 seconds.
pub async fn get(url: &str) -> Result<Answer, NoAnswer> {
    call("GET", url, None, None).await
}

/// Calls `url` with a bearer token and a JSON body.
pub async fn call(
    method: &'static str,
    url: &str,
    token: Option<&str>,
    json: Option<&str>,
) -> Result<Answer, NoAnswer> {
    let mut request = awc::Client::builder()
        .disable_redirects()
        .timeout(Duration::from_secs(5))
        .finish()
        .request(Method::from_bytes(method.as_bytes()).unwrap_or_default(), url);
    if let Some(token) = token {
        request = request.insert_header((header::AUTHORIZATION, format!("Bearer {token}")));
    }
    let sent = match json {
        Some(json) => {
            request.insert_header((header::CONTENT_TYPE, "application/json")).send_body(json.to_owned())
        }
        None => request.send(),
    };
    let mut response = sent.await.map_err(|e| NoAnswer(e.to_string()))?;
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let headers = headers.collect();
    let body = response.body().limit(1 << 20).await.map_err(|e| NoAnswer(e.to_string()))?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Ok(Answer { status: response.status().as_u16(), headers, body })
}
