use std::io::Read;
use std::path::Path;
#[cfg(feature = "simulator")]
use std::path::PathBuf;

use jiff::Timestamp;

use super::{Failure, load, say};
use crate::app;
use crate::authn::{Finding, Inspection};
use crate::domain::{TeamName, rfc3339};

/// Look at tokens
#[derive(clap::Subcommand)]
pub(super) enum Token {
    /// Say whether a token is accepted, as whom, or why not; the signature is never printed
    Inspect(Inspect),
    /// Sign a token with a key of your own, for trying things out
    #[cfg(feature = "simulator")]
    Mint(Mint),
}

/// Say whether a token is accepted
#[derive(clap::Args)]
pub(super) struct Inspect {
    /// The token; `-` reads it from standard input, which keeps it out of the process list
    #[arg(default_value = "-")]
    token: String,
}

#[cfg(feature = "simulator")]
/// Sign a token
#[derive(clap::Args)]
pub(super) struct Mint {
    /// The issuer's private key (PKCS#8 PEM), or its secret with --algorithm HS256
    #[arg(long, value_name = "FILE")]
    key_file: PathBuf,
    #[arg(long, default_value = "ES256", value_parser = ["RS256", "ES256", "EdDSA", "HS256"])]
    algorithm: String,
    /// The key's id in the issuer's JWK Set
    #[arg(long)]
    kid: Option<String>,
    /// The `iss` claim
    #[arg(long)]
    issuer: String,
    /// The `aud` claim
    #[arg(long, default_value = "zengate")]
    audience: String,
    /// The `sub` claim
    #[arg(long)]
    subject: String,
    /// A team of the `teams` claim; may be given several times
    #[arg(long = "team", value_name = "TEAM")]
    teams: Vec<String>,
    /// The `scope` claim
    #[arg(long)]
    scope: Option<String>,
    #[arg(long, default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..))]
    lifetime_seconds: u32,
}

pub(super) fn run(arguments: &Token, file: &Path) -> Result<(), Failure> {
    match arguments {
        Token::Inspect(arguments) => inspect(arguments, file),
        #[cfg(feature = "simulator")]
        Token::Mint(arguments) => mint(arguments),
    }
}

fn inspect(arguments: &Inspect, file: &Path) -> Result<(), Failure> {
    let config = load(file)?;
    let mut token = arguments.token.clone();
    if token == "-" {
        token.clear();
        std::io::stdin().read_to_string(&mut token).map_err(Failure::finding)?;
    }
    let loaded = app::load(&config).map_err(Failure::unusable)?;
    let now = Timestamp::now();
    let Inspection { findings, result } = app::block_on(loaded.authenticator.inspect(token.trim(), now));
    for Finding { step, passed, detail } in &findings {
        let passed = match passed {
            Some(true) => "ok",
            Some(false) => "NO",
            None => "-",
        };
        say(format!("{passed:<3}{step:<10} {detail}").trim_end())?;
    }
    let (identity, dropped) =
        result.map_err(|refusal| Failure::Finding(format!("the token is refused: {refusal}")))?;
    if loaded.revision.blocks(&identity, None) {
        say("NO blocks     blocks.toml stops this caller")?;
        return Err(Failure::Finding("the caller is blocked".to_owned()));
    }
    let blocked = identity.teams().iter().filter(|team| loaded.revision.blocks(&identity, Some(team)));
    let blocked: Vec<&str> = blocked.map(TeamName::as_str).collect();
    say(format!("ok blocks     teams that blocks.toml stops: {}", listed(&blocked)))?;
    say("accepted")?;
    say(format!("  issuer   {}", identity.issuer()))?;
    say(format!("  subject  {}", identity.subject()))?;
    say(format!("  client   {}", identity.client().unwrap_or("-")))?;
    say(format!("  actor    {}", identity.actor().unwrap_or("-")))?;
    say(format!("  token id {}", identity.token_id().unwrap_or("-")))?;
    let teams: Vec<_> = identity.teams().iter().map(|team| team.as_str()).collect();
    say(format!("  teams    {} ({} that its issuer may not assert)", listed(&teams), dropped.dropped_teams))?;
    let scopes: Vec<_> = identity.scopes().iter().map(String::as_str).collect();
    say(format!(
        "  scopes   {} ({} that its issuer may not assert)",
        listed(&scopes),
        dropped.dropped_scopes
    ))?;
    say(format!("  expires  {}", rfc3339(identity.expires())))
}

fn listed(items: &[&str]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(" ") }
}

#[cfg(feature = "simulator")]
fn mint(arguments: &Mint) -> Result<(), Failure> {
    use jsonwebtoken::{Algorithm, EncodingKey};
    let key = std::fs::read(&arguments.key_file)
        .map_err(|e| Failure::Finding(format!("--key-file {}: {e}", arguments.key_file.display())))?;
    let (algorithm, key) = match arguments.algorithm.as_str() {
        "RS256" => (Algorithm::RS256, EncodingKey::from_rsa_pem(&key)),
        "ES256" => (Algorithm::ES256, EncodingKey::from_ec_pem(&key)),
        "EdDSA" => (Algorithm::EdDSA, EncodingKey::from_ed_pem(&key)),
        _ => (Algorithm::HS256, Ok(EncodingKey::from_secret(crate::config::without_line_end(&key)))),
    };
    let key =
        key.map_err(|e| Failure::Finding(format!("--key-file {}: {e}", arguments.key_file.display())))?;
    let minted = sign(&key, algorithm, arguments.kid.as_deref(), &claims(arguments));
    say(minted
        .map_err(|e| Failure::Finding(format!("the key does not sign {}: {e}", arguments.algorithm)))?)
}

#[cfg(feature = "simulator")]
fn claims(arguments: &Mint) -> serde_json::Value {
    let now = Timestamp::now().as_second();
    let mut claims = serde_json::json!({
        "iss": arguments.issuer,
        "aud": arguments.audience,
        "sub": arguments.subject,
        "iat": now,
        "exp": now + i64::from(arguments.lifetime_seconds),
        "jti": uuid::Uuid::now_v7().to_string(),
        "teams": arguments.teams,
    });
    if let Some(scope) = &arguments.scope {
        claims["scope"] = scope.as_str().into();
    }
    claims
}

/// A signed token with these claims.
#[cfg(feature = "simulator")]
pub(super) fn sign(
    key: &jsonwebtoken::EncodingKey,
    algorithm: jsonwebtoken::Algorithm,
    kid: Option<&str>,
    claims: &serde_json::Value,
) -> Result<String, jsonwebtoken::errors::Error> {
    let mut header = jsonwebtoken::Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    jsonwebtoken::encode(&header, claims, key)
}
