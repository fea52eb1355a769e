use tokio_postgres::Client;

use crate::audit::store::StoreError;

/// The schema that this program brings a database to.
pub(super) const VERSION: i64 = 2;

/// Schemas, each made of the one before it. A step adds only what the program before it can write beside: columns
/// that are computed or have a default, tables, indexes. `oldest_writer` is the oldest schema whose program may still
/// write.
pub(super) const STEPS: [&str; VERSION as usize] = [
    // Texts compare by their bytes, whatever the database's language. What is computed from the record's own bytes
    // cannot say anything else than it; jsonb alone has no place for a zero character, which a JSON text may hold.
    r#"CREATE TABLE records (
        writer text COLLATE "C" NOT NULL,
        sequence bigint NOT NULL,
        hash text COLLATE "C" NOT NULL,
        record text COLLATE "C" NOT NULL,
        "time" text COLLATE "C" NOT NULL
            GENERATED ALWAYS AS (coalesce(replace(record, '\u0000', '\ufffd')::jsonb ->> 'time', '')) STORED,
        kind text COLLATE "C" GENERATED ALWAYS AS (replace(record, '\u0000', '\ufffd')::jsonb ->> 'kind') STORED,
        team text COLLATE "C" GENERATED ALWAYS AS (replace(record, '\u0000', '\ufffd')::jsonb ->> 'team') STORED,
        instance text COLLATE "C"
            GENERATED ALWAYS AS (replace(record, '\u0000', '\ufffd')::jsonb ->> 'instanceId') STORED,
        "user" text COLLATE "C" GENERATED ALWAYS AS (
            (replace(record, '\u0000', '\ufffd')::jsonb ->> 'issuer') || '|' ||
            (replace(record, '\u0000', '\ufffd')::jsonb ->> 'subject')) STORED,
        reset text COLLATE "C"
            GENERATED ALWAYS AS (replace(record, '\u0000', '\ufffd')::jsonb ->> 'resetId') STORED,
        request text COLLATE "C"
            GENERATED ALWAYS AS (replace(record, '\u0000', '\ufffd')::jsonb ->> 'requestId') STORED,
        CONSTRAINT records_pkey PRIMARY KEY (writer, sequence)
    );
    CREATE INDEX records_by_time ON records ("time", writer, sequence);
    CREATE INDEX records_by_kind ON records (kind, "time", writer, sequence)
        WHERE kind NOT IN ('intent', 'outcome', 'refused');
    CREATE INDEX records_by_team ON records (team, "time", writer, sequence) WHERE team IS NOT NULL;
    CREATE INDEX records_by_instance ON records (instance, "time", writer, sequence) WHERE instance IS NOT NULL;
    CREATE INDEX records_by_user ON records ("user", "time", writer, sequence) WHERE "user" IS NOT NULL;
    CREATE INDEX records_by_reset ON records (reset, "time", writer, sequence) WHERE reset IS NOT NULL;
    CREATE INDEX records_by_request ON records (request, "time", writer, sequence) WHERE request IS NOT NULL;
    CREATE FUNCTION zengate_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' AND current_setting('zengate.pruning', true) = 'on' THEN
                RETURN NULL;
            END IF;
            RAISE EXCEPTION 'the trail is append-only';
        END $$;
    CREATE TRIGGER records_are_never_changed BEFORE UPDATE OR DELETE OR TRUNCATE ON records
        FOR EACH STATEMENT EXECUTE FUNCTION zengate_append_only();
    CREATE TABLE resets (
        id text COLLATE "C" NOT NULL,
        instance text NOT NULL,
        team text NOT NULL,
        status text COLLATE "C" NOT NULL,
        request_id text NOT NULL,
        upstream_request_id text,
        upstream_code text,
        reason text,
        ticket text,
        policies text NOT NULL,
        created_at text NOT NULL,
        finished_at text,
        writer text COLLATE "C" NOT NULL,
        sequence bigint NOT NULL,
        hash text NOT NULL,
        closer text COLLATE "C",
        sealed_password text,
        CONSTRAINT resets_pkey PRIMARY KEY (id)
    );
    CREATE INDEX resets_sent ON resets (writer) WHERE status = 'sent';
    CREATE INDEX resets_by_intent ON resets (writer, sequence);
    CREATE TABLE writers (
        writer text COLLATE "C" NOT NULL,
        started timestamptz NOT NULL,
        lease_until timestamptz NOT NULL,
        gone boolean NOT NULL DEFAULT false,
        CONSTRAINT writers_pkey PRIMARY KEY (writer)
    ) WITH (fillfactor = 50);
    CREATE TABLE exported (
        writer text COLLATE "C" NOT NULL,
        sequence bigint NOT NULL,
        CONSTRAINT exported_pkey PRIMARY KEY (writer)
    );
    CREATE TABLE schema_version (version bigint NOT NULL, oldest_writer bigint NOT NULL);
    INSERT INTO schema_version VALUES (1, 1);"#,
    r#"CREATE TABLE idempotency_keys (
        caller text COLLATE "C" NOT NULL,
        key text COLLATE "C" NOT NULL,
        fingerprint text COLLATE "C" NOT NULL,
        target text COLLATE "C" NOT NULL,
        created_at text COLLATE "C" NOT NULL,
        CONSTRAINT idempotency_keys_pkey PRIMARY KEY (caller, key)
    );
    CREATE INDEX idempotency_keys_by_target ON idempotency_keys (target);
    CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
    ALTER TABLE resets ADD COLUMN batch text COLLATE "C", ADD COLUMN cause text,
        ALTER COLUMN created_at TYPE text COLLATE "C";
    CREATE INDEX resets_by_time ON resets ((created_at || ' ' || id));
    CREATE INDEX resets_by_status ON resets ((status || ' ' || created_at || ' ' || id));
    CREATE INDEX resets_by_team ON resets ((team || ' ' || created_at || ' ' || id));
    CREATE INDEX resets_by_team_and_status ON resets ((team || ' ' || status || ' ' || created_at || ' ' || id));
    CREATE INDEX resets_by_instance ON resets ((instance || ' ' || created_at || ' ' || id));
    CREATE INDEX resets_by_batch ON resets (batch, id) WHERE batch IS NOT NULL;
    CREATE INDEX resets_open ON resets (writer) WHERE status IN ('sent', 'queued');
    INSERT INTO schema_version VALUES (2, 1);"#,
];

/// Held while the schema is made, so that replicas which start together make it once. Any number would do.
const LOCK: i64 = 0x7a65_6e67_6174_6531;

/// What a database has: its version, and the oldest that may write.
pub(super) struct Found {
    pub(super) version: i64,
    pub(super) oldest_writer: i64,
}

impl Found {
    /// Whether this program may neither write nor read beside it.
    pub(super) fn too_new(&self) -> bool {
        self.oldest_writer > VERSION
    }
}

/// Version 0 where there is none.
pub(super) async fn found(client: &Client) -> Result<Found, StoreError> {
    // A look into the catalog's cache, as by `to_regclass`, misses what was made while this waited for the lock.
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables
        WHERE tablename = 'schema_version' AND schemaname = ANY (current_schemas(false)))";
    let there = client.query_one(there, &[]).await?;
    if !there.get::<_, bool>(0) {
        return Ok(Found { version: 0, oldest_writer: 0 });
    }
    let row = client
        .query_one(
            "SELECT coalesce(max(version), 0), coalesce(max(oldest_writer), 0) FROM schema_version",
            &[],
        )
        .await?;
    Ok(Found { version: row.get(0), oldest_writer: row.get(1) })
}

/// Brings the schema up to date, and tells what is then there.
pub(super) async fn migrate(client: &mut Client) -> Result<Found, StoreError> {
    let before = found(client).await?;
    if before.version >= VERSION {
        return Ok(before);
    }
    let encoding: String = client.query_one("SHOW server_encoding", &[]).await?.get(0);
    if encoding != "UTF8" {
        return Err(StoreError::Unavailable(format!("its encoding is {encoding}: it must be UTF8")));
    }
    let transaction = client.transaction().await?;
    // A large trail takes as long as it takes, and so do those who wait for it.
    transaction.batch_execute("SET LOCAL statement_timeout = 0").await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let before = found(transaction.client()).await?;
    for step in STEPS.iter().skip(usize::try_from(before.version).unwrap_or(0)) {
        transaction.batch_execute(step).await?;
    }
    transaction.commit().await?;
    if before.version > 0 && before.version < VERSION {
        tracing::info!(from = before.version, to = VERSION, "the trail's schema is brought up to date");
    }
    found(client).await
}
