//! The specification, from the handlers themselves, and a page to try it that loads nothing from elsewhere.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY};
use actix_web::{HttpRequest, HttpResponse, get};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::link::Link;
use utoipa::openapi::path::Operation;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{
    Content, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder, SecurityRequirement, schema,
};
use utoipa::{Modify, OpenApi};
use utoipa_swagger_ui::{Config, Url};

use super::problem::{Kind, Problem, ProblemBody};
use super::{audit, batch, history, instances, reset, whoami};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "zengate",
        description = "Lets teams reset the login passwords of their own Zenlayer Cloud instances.\n\n\
            Every call but this page's carries `Authorization: Bearer <JWT>`. Whatever fails is answered as \
            `application/problem+json` (RFC 9457); `type` is one of the slugs below.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    servers((url = "/", description = "This gateway")),
    tags((name = "resets", description = "Password resets"), (name = "instances", description = "The instances that the caller may view"), (name = "audit", description = "The audit trail"), (name = "caller", description = "The caller itself")),
    paths(reset::create, batch::create, history::list, reset::read, instances::list, instances::read, audit::list, whoami::whoami),
    components(schemas(ProblemBody)),
    modifiers(&Common),
)]
struct Api;

/// What every operation shares.
struct Common;

/// Where an answer leads: by operation and status, the link's name, the operation it leads to, the parameter it gives
/// and where in the answer that is (a runtime expression of OpenAPI).
const LINKS: &[(&str, &str, &str, &str, &str, &str)] = &[
    ("resetPassword", "201", "reset", "readReset", "id", "$response.body#/id"),
    ("resetPassword", "201", "instance", "readInstance", "instanceId", "$response.body#/instanceId"),
    ("resetPassword", "201", "resetsOfInstance", "listResets", "instanceId", "$response.body#/instanceId"),
    ("resetPassword", "201", "records", "listAuditRecords", "resetId", "$response.body#/id"),
    ("resetPasswords", "201", "batch", "readReset", "id", "$response.body#/id"),
    ("resetPasswords", "202", "batch", "readReset", "id", "$response.body#/id"),
    ("listInstances", "200", "nextPage", "listInstances", "cursor", "$response.body#/nextCursor"),
    ("listResets", "200", "nextPage", "listResets", "cursor", "$response.body#/nextCursor"),
    ("listAuditRecords", "200", "nextPage", "listAuditRecords", "cursor", "$response.body#/nextCursor"),
];

/// The problems of an operation, by its id.
fn problems(operation_id: &str) -> Vec<Kind> {
    use Kind::*;
    let mut kinds = vec![InvalidRequest, Unauthenticated, Forbidden, RateLimited, HeadTooLarge];
    match operation_id {
        "resetPassword" => kinds.extend([
            NotFound,
            InstanceNotReady,
            IdempotencyInFlight,
            PayloadTooLarge,
            UnsupportedMediaType,
            InvalidValue,
            IdempotencyKeyReused,
            UpstreamRefused,
            Unavailable,
            OutcomeUnknown,
        ]),
        "resetPasswords" => {
            kinds.extend([
                NotFound,
                IdempotencyInFlight,
                PayloadTooLarge,
                UnsupportedMediaType,
                InvalidValue,
                IdempotencyKeyReused,
                Unavailable,
                OutcomeUnknown,
            ]);
        }
        "readReset" | "readInstance" => kinds.extend([NotFound, Unavailable]),
        "listInstances" | "listResets" | "listAuditRecords" => kinds.push(Unavailable),
        _ => {}
    }
    kinds.sort_by_key(|kind| kind.status());
    kinds
}

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("A token of a configured issuer."));
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
        for kind in Kind::ALL {
            components.responses.insert(name(kind), RefOr::T(problem_response(kind)));
        }
        document.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("bearer", [])]);
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                complete(operation);
            }
        }
    }
}

fn complete(operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response {
            response.headers.extend(common_headers(true));
            let links = LINKS.iter().filter(|link| (link.0, link.1) == (&*id, status.as_str()));
            response.links.extend(links.map(|(_, _, name, to, parameter, place)| {
                let link = Link::builder().operation_id(*to).parameter(*parameter, *place);
                ((*name).to_owned(), RefOr::T(link.build()))
            }));
        }
    }
    for alike in problems(&id).chunk_by(|one, other| one.status() == other.status()) {
        let response = match alike {
            [kind] => RefOr::Ref(Ref::from_response_name(name(*kind))),
            several => RefOr::T(any_of(several)),
        };
        operation.responses.responses.insert(alike[0].status().as_str().to_owned(), response);
    }
}

/// Problems of one status, told apart by `type`, with the headers that all of them have.
fn any_of(kinds: &[Kind]) -> Response {
    let each: Vec<_> = kinds.iter().map(|kind| problem_response(*kind)).collect();
    let mut all = each[0].clone();
    all.description = each.iter().map(|one| &*one.description).collect::<Vec<_>>().join(" ");
    all.headers.retain(|name, _| each.iter().all(|one| one.headers.contains_key(name)));
    all
}

/// `InvalidRequest`, as the specification names the answer.
fn name(kind: Kind) -> String {
    format!("{kind:?}")
}

fn problem_response(kind: Kind) -> Response {
    let mut problem = Problem::new(kind, kind.title());
    if matches!(kind, Kind::IdempotencyInFlight | Kind::RateLimited | Kind::Unavailable) {
        problem.retry_after = Some(std::time::Duration::from_secs(1));
    }
    let example = serde_json::json!({
        "type": kind.urn(),
        "title": kind.title(),
        "status": kind.status().as_u16(),
        "detail": problem.detail,
        "requestId": "019ab3f0c4d27f5e8d1c2b3a49586774",
    });
    let content =
        Content::builder().schema(Some(Ref::from_schema_name("Problem"))).example(Some(example)).build();
    let mut response = ResponseBuilder::new()
        .description(format!("`{}`: {}.", kind.slug(), kind.title()))
        .content("application/problem+json", content)
        .build();
    response.headers.extend(common_headers(!matches!(kind, Kind::Unauthenticated | Kind::HeadTooLarge)));
    let extra = match kind {
        Kind::Unauthenticated => Some(("WWW-Authenticate", "The challenge (RFC 6750).")),
        Kind::IdempotencyInFlight | Kind::RateLimited | Kind::Unavailable => {
            Some(("Retry-After", "Whole seconds, at least 1."))
        }
        Kind::OutcomeUnknown => Some((
            "Idempotency-Replayed",
            "`true`: the request was served before, by the same `Idempotency-Key`.",
        )),
        Kind::MethodNotAllowed => Some(("Allow", "The methods that are.")),
        _ => None,
    };
    response.headers.extend(extra.map(|(name, text)| header(name, text)));
    response
}

fn common_headers(authenticated: bool) -> BTreeMap<String, RefOr<utoipa::openapi::Header>> {
    let mut headers = BTreeMap::from([header("X-Request-Id", "The request's id, in logs and records too.")]);
    if authenticated {
        headers.extend([
            header("RateLimit-Policy", "The limits (draft-ietf-httpapi-ratelimit-headers-10)."),
            header("RateLimit", "What is left of them."),
        ]);
    }
    headers
}

fn header(name: &str, text: &str) -> (String, RefOr<utoipa::openapi::Header>) {
    let schema = schema::Object::with_type(schema::Type::String);
    (name.to_owned(), RefOr::T(HeaderBuilder::new().schema(Some(schema)).description(Some(text)).build()))
}

/// The specification as it is checked in and served: indented JSON with a line end.
pub fn document() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let document = Api::openapi();
        serde_json::to_string_pretty(&document).expect("a document of texts") + "\n"
    });
    &TEXT
}

#[get("/openapi.json")]
pub(super) async fn specification() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(document())
}

#[get("/docs")]
pub(super) async fn docs() -> HttpResponse {
    HttpResponse::PermanentRedirect().insert_header((LOCATION, "/docs/index.html")).finish()
}

/// The browser may load and call this gateway only. `validatorUrl: none` keeps the specification from being sent
/// to a third party's validator.
#[get("/docs/{file}")]
pub(super) async fn docs_file(request: HttpRequest) -> Result<HttpResponse, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| {
        Arc::new(
            Config::new([Url::new("zengate", "/openapi.json")])
                .validator_url("none")
                .try_it_out_enabled(true),
        )
    });
    const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
        frame-ancestors 'none'; form-action 'none'; base-uri 'none'";
    let missing = || Problem::new(Kind::NotFound, "There is no such page.");
    let file = utoipa_swagger_ui::serve(request.match_info().query("file"), CONFIG.clone());
    let file = file.map_err(|_| missing())?.ok_or_else(missing)?;
    let mut response = HttpResponse::Ok();
    response.content_type(file.content_type).insert_header((CONTENT_SECURITY_POLICY, POLICY));
    response.insert_header((REFERRER_POLICY, "no-referrer"));
    if file.gzpipped {
        response.insert_header((CONTENT_ENCODING, "gzip"));
    }
    Ok(response.body(file.bytes.into_owned()))
}
