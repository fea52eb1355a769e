use actix_cors::Cors;
use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER};
use actix_web::middleware::Condition;

use crate::config;

/// Lets pages of the allowed origins call (the Fetch standard's CORS); without such origins nothing is said of it,
/// and browsers let nobody. A preflight needs no token, and credentials other than the token are not asked for.
pub fn cross_origin(settings: &config::Cors) -> Condition<Cors> {
    let name = HeaderName::from_static;
    let seconds = usize::try_from(settings.max_age.as_secs()).unwrap_or(usize::MAX);
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::POST])
        .allowed_headers([
            ACCEPT,
            AUTHORIZATION,
            CONTENT_TYPE,
            name("idempotency-key"),
            name("prefer"),
            name("traceparent"),
        ])
        .expose_headers([
            LOCATION,
            RETRY_AFTER,
            name("idempotency-replayed"),
            name("preference-applied"),
            name("ratelimit"),
            name("ratelimit-policy"),
            name("x-request-id"),
        ])
        // Who is not a browser sends an origin too, and is none of CORS' business.
        .block_on_origin_mismatch(false)
        .max_age(seconds);
    let allowed = settings.allowed_origins.iter();
    let cors = allowed.fold(cors, |cors, origin| cors.allowed_origin(origin.as_str()));
    Condition::new(!settings.allowed_origins.is_empty(), cors)
}
