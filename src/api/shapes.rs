//! What the bodies of calls look like, for the specification; `body` reads the bytes, to wipe them.

use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Array, ArrayBuilder, Object, ObjectBuilder, Type};

/// What to set, and why: a password of the caller's, or one made up here.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = ResetRequest)]
#[expect(dead_code, reason = "its shape is for the specification; `body` reads the bytes, to wipe them")]
pub(super) enum ResetRequestBody {
    Typed(Typed),
    Generated(Generated),
}

/// A password of the caller's.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TypedReset)]
#[expect(dead_code, reason = "its shape is for the specification")]
pub(super) struct Typed {
    /// 8 to 16 letters, digits and `~!@$^*-_=+`, at least one each of a-z, A-Z, 0-9 and those.
    #[schema(min_length = 8, max_length = 16, pattern = r"^[A-Za-z0-9~!@$^*\-_=+]+$", format = Password, example = "Example~2026")]
    password: String,
    /// Why, for the record.
    #[schema(min_length = 1, max_length = 500, nullable = false, example = "the owner lost it")]
    reason: Option<String>,
    /// The ticket, for the record; policies may ask for one.
    #[schema(min_length = 1, max_length = 64, nullable = false, example = "OPS-1234")]
    ticket: Option<String>,
}

/// A password made up here: 16 characters from the operating system's randomness.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schema(as = GeneratedReset)]
#[expect(dead_code, reason = "its shape is for the specification")]
pub(super) struct Generated {
    /// Always `true`.
    #[schema(schema_with = always_true)]
    generate: bool,
    /// A public key (JWK, RFC 7517): RSA of 2048 to 4096 bits, or P-256. The answer then has `sealedPassword`, compact
    /// JWE that its private half opens (RSA-OAEP-256 or ECDH-ES, with A256GCM), and never `password`.
    #[schema(value_type = Object, required = false, example = json!({"kty": "EC", "crv": "P-256", "kid": "portal-1", "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0", "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"}))]
    recipient_key: Option<serde_json::Value>,
    /// Why, for the record.
    #[schema(min_length = 1, max_length = 500, nullable = false, example = "the owner lost it")]
    reason: Option<String>,
    /// The ticket, for the record; policies may ask for one.
    #[schema(min_length = 1, max_length = 64, nullable = false, example = "OPS-1234")]
    ticket: Option<String>,
}

fn instance_ids() -> Array {
    let id = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(64));
    let ids = ArrayBuilder::new().items(id.pattern(Some("^[A-Za-z0-9][A-Za-z0-9_-]*$")));
    let ids = ids.min_items(Some(1)).max_items(Some(100)).unique_items(true);
    ids.description(Some("Each once.")).examples([json!(["pay-0001", "pay-0002"])]).build()
}

fn always_true() -> Object {
    let always = ObjectBuilder::new().schema_type(Type::Boolean).enum_values(Some([true]));
    always.description(Some("Always `true`.")).examples([json!(true)]).build()
}

/// What to set on which instances, and why: one password of the caller's for all, or one made up here for each.
#[derive(Deserialize, ToSchema)]
#[serde(untagged)]
#[schema(as = BatchRequest)]
#[expect(dead_code, reason = "its shape is for the specification; `body` reads the bytes, to wipe them")]
pub(super) enum BatchRequestBody {
    Typed(TypedBatch),
    Generated(GeneratedBatch),
}

/// One password of the caller's for all of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "its shape is for the specification")]
pub(super) struct TypedBatch {
    /// Each once.
    #[schema(schema_with = instance_ids)]
    instance_ids: Vec<String>,
    /// As of a single reset.
    #[schema(min_length = 8, max_length = 16, pattern = r"^[A-Za-z0-9~!@$^*\-_=+]+$", format = Password, example = "Example~2026")]
    password: String,
    /// Why, for the record.
    #[schema(min_length = 1, max_length = 500, nullable = false, example = "rotation")]
    reason: Option<String>,
    /// The ticket, for the record; policies may ask for one.
    #[schema(min_length = 1, max_length = 64, nullable = false, example = "OPS-1234")]
    ticket: Option<String>,
}

/// A password made up here for each of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "its shape is for the specification")]
pub(super) struct GeneratedBatch {
    /// Each once.
    #[schema(schema_with = instance_ids)]
    instance_ids: Vec<String>,
    /// Always `true`.
    #[schema(schema_with = always_true)]
    generate: bool,
    /// As of a single reset: each password is sealed to it.
    #[schema(value_type = Object, required = false, example = json!({"kty": "EC", "crv": "P-256", "kid": "portal-1", "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0", "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps"}))]
    recipient_key: Option<serde_json::Value>,
    /// Why, for the record.
    #[schema(min_length = 1, max_length = 500, nullable = false, example = "rotation")]
    reason: Option<String>,
    /// The ticket, for the record; policies may ask for one.
    #[schema(min_length = 1, max_length = 64, nullable = false, example = "OPS-1234")]
    ticket: Option<String>,
}
