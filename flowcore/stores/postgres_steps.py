"""What makes a PostgreSQL store's tables and functions, version by version.

Every text that a user gives is bytea: NUL and lone surrogates pass, whatever the database's encoding and collation.
Where an index over such texts could grow too large for a page, it's over their digest.

Whoever writes to a tree locks its root's row first, rows in the order of their ids; sessions come after that. `mark`:
the nonce of the writer who claimed a run last, by which a try whose answer was lost is known again. `fixed`, `sum` and
`head`: see ``checksums``.
"""

from __future__ import annotations

CLOCK = "extract(epoch FROM clock_timestamp())::float8"
"""The database's clock, in seconds since the epoch."""
RENEWED_SECONDS = 1.0
"""A lease that was renewed within so many seconds isn't written again by an admission or a claim: a process's many
starts don't queue at its owner's row. Far below the engine's margin of 3 s."""

# `kept`: deleted runs whose facts, or some of them, forks still share. They stand in no other table but `fact`.
# `run` keeps room in its pages, so that an update of what no index holds touches no index.
_TABLES = """
CREATE TABLE @.fact (
    run bytea NOT NULL, seq bigint NOT NULL, kind text COLLATE "C" NOT NULL, node bytea NOT NULL, visit bigint NOT NULL,
    "on" bytea, "to" bytea, at float8 NOT NULL, nonce text COLLATE "C" NOT NULL, payload bytea NOT NULL,
    PRIMARY KEY (run, seq)
);
CREATE TABLE @.run (
    id bytea PRIMARY KEY, root bytea NOT NULL, parent bytea,
    owner bytea, epoch bigint NOT NULL, mark text COLLATE "C", known bigint NOT NULL,
    graph bytea NOT NULL, fingerprint bytea NOT NULL, standing text COLLATE "C" NOT NULL, node bytea NOT NULL,
    created float8 NOT NULL, updated float8 NOT NULL, due float8, turns bigint NOT NULL, tokens bigint NOT NULL,
    label bytea NOT NULL, error bytea, base bytea, base_seq bigint,
    head bigint NOT NULL, fixed bigint NOT NULL, sum bigint NOT NULL
) WITH (fillfactor = 80);
CREATE INDEX run_base ON @.run (base) WHERE base IS NOT NULL;
CREATE INDEX run_latest ON @.run (created, id) WHERE root = id;
CREATE INDEX run_standing ON @.run (standing, created, id) WHERE root = id;
CREATE INDEX run_tree ON @.run (root, created);
CREATE INDEX run_due ON @.run (due) WHERE due IS NOT NULL AND root = id;
CREATE INDEX run_owner ON @.run (owner) WHERE owner IS NOT NULL;
CREATE TABLE @.kept (id bytea PRIMARY KEY, root bytea NOT NULL, base bytea, base_seq bigint);
CREATE INDEX kept_root ON @.kept (root);
CREATE INDEX kept_base ON @.kept (base) WHERE base IS NOT NULL;
CREATE TABLE @.owner (
    id bytea PRIMARY KEY, host bytea NOT NULL, pid bigint NOT NULL, born bytea NOT NULL, expires float8 NOT NULL
);
CREATE TABLE @.letter (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, digest bytea NOT NULL UNIQUE,
    root bytea NOT NULL, id bytea NOT NULL, run bytea NOT NULL, kind bytea NOT NULL, key bytea, at float8 NOT NULL,
    value bytea NOT NULL
);
CREATE INDEX letter_root ON @.letter (root, number);
CREATE TABLE @.request (
    digest bytea PRIMARY KEY, root bytea NOT NULL, run bytea NOT NULL, key bytea NOT NULL, kind bytea NOT NULL,
    node bytea NOT NULL, opened float8 NOT NULL, data bytea NOT NULL, schema bytea NOT NULL
);
CREATE INDEX request_root ON @.request (root, opened);
CREATE INDEX request_opened ON @.request (opened);
CREATE TABLE @.session_item (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, session bytea NOT NULL, digest bytea UNIQUE, run bytea,
    item bytea NOT NULL
);
CREATE INDEX session_order ON @.session_item (session, position);
CREATE INDEX session_run ON @.session_item (run) WHERE run IS NOT NULL;
"""

# Functions, so that what has to be decided at the rows costs one round trip. `one` and `plain`: a fact, and facts of
# many runs, that bring nothing else. `member`: a run's facts and all that they
# bring, whole or not at all. For a new root the lease is given with it.
_FUNCTIONS = f"""
CREATE FUNCTION @.lock_all(p_roots bytea[], p_sessions bigint[]) RETURNS void LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM 1 FROM @.run WHERE id = ANY (p_roots) ORDER BY id FOR NO KEY UPDATE;
    PERFORM pg_advisory_xact_lock(one.key) FROM (SELECT DISTINCT unnest(p_sessions) AS key ORDER BY 1) AS one;
END $body$;

CREATE FUNCTION @.renew(p_owner bytea, p_host bytea, p_pid bigint, p_born bytea, p_seconds float8) RETURNS void
LANGUAGE plpgsql AS $body$
DECLARE
    moment float8 := {CLOCK};
BEGIN
    IF EXISTS (SELECT 1 FROM @.owner WHERE id = p_owner AND expires > moment + p_seconds - {RENEWED_SECONDS}) THEN
        RETURN;
    END IF;
    INSERT INTO @.owner (id, host, pid, born, expires) VALUES (p_owner, p_host, p_pid, p_born, moment + p_seconds)
    ON CONFLICT (id) DO UPDATE SET expires = greatest(owner.expires, excluded.expires);
END $body$;

CREATE FUNCTION @.one(
    p_root bytea, p_epoch bigint, p_nonce text, p_run bytea, p_seq bigint, p_kind text, p_node bytea, p_visit bigint,
    p_on bytea, p_to bytea, p_at float8, p_payload bytea
) RETURNS boolean LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM 1 FROM @.run WHERE id = p_root AND epoch = p_epoch AND owner IS NOT NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF p_run <> p_root AND NOT EXISTS (SELECT 1 FROM @.run WHERE id = p_run AND root = p_root) THEN
        RETURN false;
    END IF;
    INSERT INTO @.fact (run, seq, kind, node, visit, "on", "to", at, nonce, payload)
    SELECT p_run, p_seq, p_kind, p_node, p_visit, p_on, p_to, p_at, p_nonce, p_payload
    WHERE EXISTS (SELECT 1 FROM @.fact WHERE run = p_run AND seq = p_seq - 1)
    ON CONFLICT DO NOTHING;
    RETURN FOUND;
END $body$;

CREATE FUNCTION @.plain(
    p_roots bytea[], p_epochs bigint[], p_nonces text[], p_runs bytea[], p_seqs bigint[], p_kinds text[],
    p_nodes bytea[], p_visits bigint[], p_ons bytea[], p_tos bytea[], p_ats float8[], p_payloads bytea[]
) RETURNS TABLE (done_run bytea) LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM 1 FROM @.run WHERE id = ANY (p_roots) ORDER BY id FOR NO KEY UPDATE;
    RETURN QUERY INSERT INTO @.fact (run, seq, kind, node, visit, "on", "to", at, nonce, payload)
    SELECT one.run, one.seq, one.kind, one.node, one.visit, one."on", one."to", one.at, one.nonce, one.payload
    FROM unnest(
        p_roots, p_epochs, p_nonces, p_runs, p_seqs, p_kinds, p_nodes, p_visits, p_ons, p_tos, p_ats, p_payloads
    ) AS one (root, epoch, nonce, run, seq, kind, node, visit, "on", "to", at, payload)
    JOIN @.run AS tree ON tree.id = one.root AND tree.epoch = one.epoch AND tree.owner IS NOT NULL
    WHERE (one.run = one.root OR EXISTS (SELECT 1 FROM @.run AS c WHERE c.id = one.run AND c.root = one.root))
    AND EXISTS (SELECT 1 FROM @.fact AS f WHERE f.run = one.run AND f.seq = one.seq - 1)
    ON CONFLICT DO NOTHING RETURNING fact.run;
END $body$;

CREATE FUNCTION @.member(
    p_admit boolean, p_root bytea, p_epoch bigint, p_nonce text, p_run bytea,
    p_seqs bigint[], p_kinds text[], p_nodes bytea[], p_visits bigint[], p_ons bytea[], p_tos bytea[], p_ats float8[],
    p_payloads bytea[],
    p_parent bytea, p_graph bytea, p_fingerprint bytea, p_standing text, p_node bytea, p_created float8,
    p_updated float8, p_due float8, p_turns bigint, p_tokens bigint, p_label bytea, p_error bytea,
    p_base bytea, p_base_seq bigint, p_head bigint, p_fixed bigint, p_sum bigint, p_owner bytea,
    p_closed bytea[], p_consumed bytea[],
    o_digests bytea[], o_keys bytea[], o_kinds bytea[], o_nodes bytea[], o_opened float8[], o_data bytea[],
    o_schemas bytea[],
    s_sessions bytea[], s_digests bytea[], s_items bytea[]
) RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
    head bigint;
BEGIN
    IF p_admit THEN
        IF p_base IS NOT NULL THEN
            PERFORM 1 FROM @.run WHERE id = p_base FOR KEY SHARE;
            IF NOT FOUND THEN
                RETURN 'no base';
            END IF;
            SELECT max(seq) INTO head FROM @.fact WHERE run = p_base;
            IF p_base_seq < 0 OR p_base_seq > head THEN
                RETURN 'short ' || head;
            END IF;
        END IF;
        INSERT INTO @.run (id, root, parent, owner, epoch, known, graph, fingerprint, standing, node, created, updated,
            due, turns, tokens, label, error, base, base_seq, head, fixed, sum)
        VALUES (p_run, p_root, p_parent, p_owner, p_epoch, 0, p_graph, p_fingerprint, p_standing, p_node, p_created,
            p_updated, p_due, p_turns, p_tokens, p_label, p_error, p_base, p_base_seq, p_head, p_fixed, p_sum)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN 'exists';
        END IF;
        IF EXISTS (SELECT 1 FROM @.kept WHERE root = p_root) THEN
            DELETE FROM @.run WHERE id = p_run;
            RETURN 'kept';
        END IF;
    ELSIF p_seqs[1] = 0 THEN
        IF p_standing IS NULL THEN
            RETURN 'refused';
        END IF;
        INSERT INTO @.run (id, root, parent, owner, epoch, known, graph, fingerprint, standing, node, created, updated,
            due, turns, tokens, label, error, head, fixed, sum)
        SELECT p_run, p_root, p_parent, NULL, 0, 0, p_graph, p_fingerprint, p_standing, p_node, p_created, p_updated,
            p_due, p_turns, p_tokens, p_label, p_error, p_head, p_fixed, p_sum
        FROM @.run AS tree WHERE tree.id = p_root AND tree.root = p_root AND tree.epoch = p_epoch
            AND tree.owner IS NOT NULL AND NOT EXISTS (SELECT 1 FROM @.fact WHERE run = p_run)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            RETURN 'refused';
        END IF;
    ELSE
        PERFORM 1 FROM @.run AS tree WHERE tree.id = p_root AND tree.epoch = p_epoch AND tree.owner IS NOT NULL
        AND (p_run = p_root OR EXISTS (SELECT 1 FROM @.run AS c WHERE c.id = p_run AND c.root = p_root))
        AND EXISTS (SELECT 1 FROM @.fact WHERE run = p_run AND seq = p_seqs[1] - 1)
        AND NOT EXISTS (SELECT 1 FROM @.fact WHERE run = p_run AND seq >= p_seqs[1]);
        IF NOT FOUND THEN
            RETURN 'refused';
        END IF;
        IF p_standing IS NOT NULL THEN
            UPDATE @.run SET graph = p_graph, fingerprint = p_fingerprint, standing = p_standing, node = p_node,
                updated = p_updated, due = p_due, turns = p_turns, tokens = p_tokens, label = p_label, error = p_error,
                head = p_head, sum = p_sum
            WHERE id = p_run;
        END IF;
    END IF;
    INSERT INTO @.fact (run, seq, kind, node, visit, "on", "to", at, nonce, payload)
    SELECT p_run, one.seq, one.kind, one.node, one.visit, one."on", one."to", one.at, p_nonce, one.payload
    FROM unnest(p_seqs, p_kinds, p_nodes, p_visits, p_ons, p_tos, p_ats, p_payloads)
        AS one (seq, kind, node, visit, "on", "to", at, payload);
    IF cardinality(p_closed) > 0 THEN
        DELETE FROM @.request WHERE digest = ANY (p_closed);
    END IF;
    IF cardinality(o_digests) > 0 THEN
        INSERT INTO @.request (digest, root, run, key, kind, node, opened, data, schema)
        SELECT one.digest, p_root, p_run, one.key, one.kind, one.node, one.opened, one.data, one.schema
        FROM unnest(o_digests, o_keys, o_kinds, o_nodes, o_opened, o_data, o_schemas)
            AS one (digest, key, kind, node, opened, data, schema)
        ON CONFLICT (digest) DO UPDATE SET kind = excluded.kind, node = excluded.node, opened = excluded.opened,
            data = excluded.data, schema = excluded.schema;
    END IF;
    IF cardinality(p_consumed) > 0 THEN
        DELETE FROM @.letter WHERE digest = ANY (p_consumed);
    END IF;
    IF cardinality(s_sessions) > 0 THEN
        INSERT INTO @.session_item (session, run, digest, item)
        SELECT one.session, p_run, one.digest, one.item
        FROM unnest(s_sessions, s_digests, s_items) WITH ORDINALITY AS one (session, digest, item, i) ORDER BY one.i
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN 'done';
END $body$;

CREATE FUNCTION @.claim(
    p_run bytea, p_mark text, p_gone bytea, p_owner bytea, p_host bytea, p_pid bigint, p_born bytea, p_seconds float8
) RETURNS TABLE (
    root bytea, holder bytea, host bytea, pid bigint, born bytea, epoch bigint, head bigint, mine boolean
)
LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    was record;
BEGIN
    SELECT run.root, run.owner, run.epoch, run.mark INTO was FROM @.run WHERE id = p_run FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    root := was.root;
    holder := was.owner;
    epoch := was.epoch;
    SELECT owner.host, owner.pid, owner.born INTO host, pid, born FROM @.owner
    WHERE id = was.owner AND expires > {CLOCK};
    IF was.root = p_run AND was.owner IS DISTINCT FROM p_owner AND (host IS NULL OR was.owner = p_gone) THEN
        PERFORM @.renew(p_owner, p_host, p_pid, p_born, p_seconds);
        UPDATE @.run SET owner = p_owner, epoch = run.epoch + 1, mark = p_mark WHERE id = p_run;
        epoch := was.epoch + 1;
        mine := true;
    ELSE
        mine := was.owner = p_owner AND was.mark = p_mark;
    END IF;
    IF mine THEN
        SELECT coalesce(max(seq), -1) INTO head FROM @.fact WHERE fact.run = p_run;
    END IF;
    RETURN NEXT;
END $body$;

CREATE FUNCTION @.release(p_run bytea, p_epoch bigint, p_known bigint)
RETURNS TABLE (given boolean, root bytea, owner bytea, epoch bigint) LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    waiting bigint;
BEGIN
    SELECT run.root, run.owner, run.epoch INTO root, owner, epoch FROM @.run WHERE id = p_run FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    given := false;
    IF root = p_run AND owner IS NOT NULL AND epoch = p_epoch THEN
        SELECT count(*) INTO waiting FROM @.letter WHERE letter.root = p_run;
        IF waiting <= p_known THEN
            UPDATE @.run SET owner = NULL, known = waiting WHERE id = p_run;
            given := true;
        END IF;
    END IF;
    RETURN NEXT;
END $body$;

CREATE FUNCTION @.signal(
    p_run bytea, p_id bytea, p_kind bytea, p_key bytea, p_at float8, p_value bytea
) RETURNS text LANGUAGE plpgsql AS $body$
DECLARE
    tree bytea;
    name bytea;
BEGIN
    SELECT root INTO tree FROM @.run WHERE id = p_run;
    IF NOT FOUND THEN
        RETURN 'not found';
    END IF;
    PERFORM 1 FROM @.run WHERE id = tree FOR NO KEY UPDATE;
    PERFORM 1 FROM @.run WHERE id = p_run;
    IF NOT FOUND THEN
        RETURN 'not found';
    END IF;
    name := sha256(tree || '\\x00' || p_id);
    IF EXISTS (SELECT 1 FROM @.letter WHERE digest = name) THEN
        RETURN 'sent';
    END IF;
    IF p_kind = 'answer' AND (
        NOT EXISTS (SELECT 1 FROM @.request WHERE digest = sha256(p_run || '\\x00' || coalesce(p_key, '')))
        OR EXISTS (SELECT 1 FROM @.letter WHERE root = tree AND run = p_run AND kind = 'answer' AND key = p_key)
    ) THEN
        RETURN 'not open';
    END IF;
    INSERT INTO @.letter (digest, root, id, run, kind, key, at, value)
    VALUES (name, tree, p_id, p_run, p_kind, p_key, p_at, p_value);
    RETURN 'sent';
END $body$;

CREATE FUNCTION @.remove(p_root bytea) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    one bytea;
    hidden bytea;
    was @.kept%ROWTYPE;
    upto bigint;
    runs bytea[] := ARRAY(SELECT id FROM @.run WHERE root = p_root ORDER BY id);
BEGIN
    PERFORM 1 FROM @.run WHERE id = ANY (runs) ORDER BY id FOR UPDATE;
    INSERT INTO @.kept (id, root, base, base_seq) SELECT id, root, base, base_seq FROM @.run WHERE root = p_root;
    DELETE FROM @.run WHERE root = p_root;
    DELETE FROM @.letter WHERE root = p_root;
    DELETE FROM @.request WHERE root = p_root;
    -- What it wrote stays, and isn't taken for something that a later run of this id writes.
    UPDATE @.session_item SET run = NULL, digest = NULL WHERE run = ANY (runs);
    FOREACH one IN ARRAY runs LOOP
        hidden := one;
        WHILE hidden IS NOT NULL LOOP
            SELECT * INTO was FROM @.kept WHERE id = hidden;
            EXIT WHEN NOT FOUND;
            SELECT max(base_seq) INTO upto FROM (
                SELECT base_seq FROM @.run WHERE base = hidden UNION ALL SELECT base_seq FROM @.kept WHERE base = hidden
            ) AS needed;
            DELETE FROM @.fact WHERE run = hidden AND seq > coalesce(upto, -1);
            IF upto IS NULL THEN
                DELETE FROM @.kept WHERE id = hidden;
            ELSIF was.base IS NOT NULL AND upto < was.base_seq THEN
                UPDATE @.kept SET base_seq = upto WHERE id = hidden;
            ELSE
                EXIT;
            END IF;
            hidden := was.base;
        END LOOP;
    END LOOP;
END $body$;
"""

_MARK = """
CREATE TABLE @.flowcore_store (version int NOT NULL);
INSERT INTO @.flowcore_store VALUES (2);
"""

# Version 3. `letters`: how many wait for a tree, at its root, so that an index holds the runs that somebody should take
# up for them. The functions of version 2 stay: older processes that are connected end their runs with them.
_LETTERS = """
ALTER TABLE @.run ADD COLUMN letters bigint NOT NULL DEFAULT 0;
UPDATE @.run SET letters = waiting.count
FROM (SELECT root, count(*) FROM @.letter GROUP BY root) AS waiting WHERE run.id = waiting.root;

CREATE FUNCTION @.count_letter() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE @.run SET letters = letters + 1 WHERE id = NEW.root;
    ELSE
        UPDATE @.run SET letters = letters - 1 WHERE id = OLD.root;
    END IF;
    RETURN NULL;
END $body$;
CREATE TRIGGER count_letter AFTER INSERT OR DELETE ON @.letter FOR EACH ROW EXECUTE FUNCTION @.count_letter();

CREATE INDEX run_called ON @.run (coalesce(due, created), id)
WHERE root = id AND letters > known AND standing IN ('running', 'waiting');
CREATE INDEX run_loose ON @.run (created, id, base) WHERE root = id AND standing = 'running' AND due IS NULL;
"""

# What is deleted is hidden as a whole, and freed in pieces. `loose`: somebody should look which of its facts a fork
# needs still, and free the others.
_REMOVAL = """
ALTER TABLE @.kept ADD COLUMN loose boolean NOT NULL DEFAULT false;
CREATE INDEX kept_loose ON @.kept (id) WHERE loose;

CREATE FUNCTION @.hide(p_root bytea) RETURNS void LANGUAGE plpgsql AS $body$
BEGIN
    PERFORM 1 FROM @.run WHERE root = p_root ORDER BY id FOR UPDATE;
    INSERT INTO @.kept (id, root, base, base_seq, loose)
    SELECT id, root, base, base_seq, true FROM @.run WHERE root = p_root;
    DELETE FROM @.run WHERE root = p_root;
    DELETE FROM @.letter WHERE root = p_root;
    DELETE FROM @.request WHERE root = p_root;
END $body$;

CREATE FUNCTION @.free(p_most bigint) RETURNS boolean LANGUAGE plpgsql AS $body$
DECLARE
    hidden @.kept%ROWTYPE;
    upto bigint;
    rows bigint;
    rest bigint := p_most;
BEGIN
    LOOP
        SELECT * INTO hidden FROM @.kept WHERE loose ORDER BY id LIMIT 1;
        IF NOT FOUND THEN
            RETURN true;
        END IF;
        SELECT max(base_seq) INTO upto FROM (
            SELECT base_seq FROM @.run WHERE base = hidden.id
            UNION ALL SELECT base_seq FROM @.kept WHERE base = hidden.id
        ) AS needed;
        -- What it wrote stays, and isn't taken for something that a later run of this id writes.
        UPDATE @.session_item SET run = NULL, digest = NULL WHERE position = ANY (ARRAY(
            SELECT position FROM @.session_item WHERE run = hidden.id LIMIT rest
        ));
        GET DIAGNOSTICS rows = ROW_COUNT;
        rest := rest - rows;
        DELETE FROM @.fact WHERE run = hidden.id AND seq = ANY (ARRAY(
            SELECT seq FROM @.fact WHERE run = hidden.id AND seq > coalesce(upto, -1) ORDER BY seq LIMIT rest
        ));
        GET DIAGNOSTICS rows = ROW_COUNT;
        rest := rest - rows - 1;
        IF rest <= 0 THEN
            RETURN false;
        END IF;
        IF upto IS NULL THEN
            DELETE FROM @.kept WHERE id = hidden.id;
        ELSE
            UPDATE @.kept SET loose = false, base_seq = CASE WHEN base IS NOT NULL THEN least(base_seq, upto) END
            WHERE id = hidden.id;
        END IF;
        IF hidden.base IS NOT NULL AND (upto IS NULL OR upto < hidden.base_seq) THEN
            UPDATE @.kept SET loose = true WHERE id = hidden.base;
        END IF;
    END LOOP;
END $body$;
"""

# All that a group brings, in one round trip. Plain facts (p_): one for a run, that bring nothing else. Leases given
# back (r_). Members (m_), each of another run, with their facts (f_), the digests of requests and letters that go (g_),
# the requests that open (o_) and the items for sessions (s_), by the member's number. A member is written whole or not
# at all; one that comes with an owner (w_) or the root of its own admission begins a tree.
_WRITE = """
CREATE FUNCTION @.write(
    locked bytea[], locked_sessions bigint[],
    p_roots bytea[], p_epochs bigint[], p_nonces text[], p_runs bytea[], p_seqs bigint[], p_kinds text[],
    p_nodes bytea[], p_visits bigint[], p_ons bytea[], p_tos bytea[], p_ats float8[], p_payloads bytea[],
    r_runs bytea[], r_epochs bigint[], r_knowns bigint[],
    w_owners bytea[], w_hosts bytea[], w_pids bigint[], w_borns bytea[], w_seconds float8[],
    m_admits boolean[], m_roots bytea[], m_epochs bigint[], m_nonces text[], m_runs bytea[], m_owners bytea[],
    m_firsts bigint[], m_parents bytea[], m_graphs bytea[], m_fingerprints bytea[], m_standings text[],
    m_nodes bytea[], m_createds float8[], m_updateds float8[], m_dues float8[], m_turns bigint[], m_tokens bigint[],
    m_labels bytea[], m_errors bytea[], m_bases bytea[], m_base_seqs bigint[], m_heads bigint[], m_fixeds bigint[],
    m_sums bigint[],
    f_members bigint[], f_seqs bigint[], f_kinds text[], f_nodes bytea[], f_visits bigint[], f_ons bytea[],
    f_tos bytea[], f_ats float8[], f_payloads bytea[],
    g_members bigint[], g_digests bytea[],
    o_members bigint[], o_digests bytea[], o_keys bytea[], o_kinds bytea[], o_nodes bytea[], o_opened float8[],
    o_data bytea[], o_schemas bytea[],
    s_members bigint[], s_sessions bytea[], s_digests bytea[], s_items bytea[]
) RETURNS TABLE (written bytea[], released bytea[], told text[]) LANGUAGE plpgsql AS $body$
DECLARE
    made bytea[];
    good bigint[];
    head bigint;
BEGIN
    PERFORM 1 FROM @.run WHERE id = ANY (locked) ORDER BY id FOR NO KEY UPDATE;
    IF cardinality(locked_sessions) > 0 THEN
        PERFORM pg_advisory_xact_lock(one.key)
        FROM (SELECT DISTINCT unnest(locked_sessions) AS key ORDER BY 1) AS one;
    END IF;

    IF cardinality(p_runs) > 0 THEN
        WITH done AS (
            INSERT INTO @.fact (run, seq, kind, node, visit, "on", "to", at, nonce, payload)
            SELECT one.run, one.seq, one.kind, one.node, one.visit, one."on", one."to", one.at, one.nonce, one.payload
            FROM unnest(
                p_roots, p_epochs, p_nonces, p_runs, p_seqs, p_kinds, p_nodes, p_visits, p_ons, p_tos, p_ats, p_payloads
            ) AS one (root, epoch, nonce, run, seq, kind, node, visit, "on", "to", at, payload)
            JOIN @.run AS tree ON tree.id = one.root AND tree.epoch = one.epoch AND tree.owner IS NOT NULL
            WHERE (one.run = one.root OR EXISTS (SELECT 1 FROM @.run AS c WHERE c.id = one.run AND c.root = one.root))
            AND EXISTS (SELECT 1 FROM @.fact AS f WHERE f.run = one.run AND f.seq = one.seq - 1)
            ON CONFLICT DO NOTHING RETURNING fact.run
        ) SELECT array_agg(done.run) INTO written FROM done;
    END IF;

    IF cardinality(r_runs) > 0 THEN
        WITH done AS (
            UPDATE @.run SET owner = NULL, known = run.letters
            FROM unnest(r_runs, r_epochs, r_knowns) AS one (id, epoch, known)
            WHERE run.id = one.id AND run.root = one.id AND run.owner IS NOT NULL AND run.epoch = one.epoch
            AND run.letters <= one.known
            RETURNING run.id
        ) SELECT array_agg(done.id) INTO released FROM done;
    END IF;

    IF cardinality(m_runs) = 0 THEN
        RETURN NEXT;
        RETURN;
    END IF;

    -- What begins: trees, and children in a tree that is there.
    told := array_fill('refused'::text, ARRAY[cardinality(m_runs)]);
    IF true = ANY (m_admits) OR 0 = ANY (m_firsts) THEN
        PERFORM @.renew(one.id, one.host, one.pid, one.born, one.seconds)
        FROM (
            SELECT DISTINCT ON (w.id) w.* FROM unnest(w_owners, w_hosts, w_pids, w_borns, w_seconds)
            AS w (id, host, pid, born, seconds) ORDER BY w.id
        ) AS one;
        FOR i IN 1 .. cardinality(m_runs) LOOP
            IF m_admits[i] THEN
                told[i] := 'exists';
                IF m_bases[i] IS NOT NULL THEN
                    PERFORM 1 FROM @.run WHERE id = m_bases[i] FOR KEY SHARE;
                    IF NOT FOUND THEN
                        told[i] := 'no base';
                    ELSE
                        SELECT max(seq) INTO head FROM @.fact WHERE run = m_bases[i];
                        IF m_base_seqs[i] < 0 OR m_base_seqs[i] > head THEN
                            told[i] := 'short ' || head;
                        END IF;
                    END IF;
                END IF;
            END IF;
        END LOOP;
        WITH done AS (
            INSERT INTO @.run (id, root, parent, owner, epoch, known, graph, fingerprint, standing, node, created,
                updated, due, turns, tokens, label, error, base, base_seq, head, fixed, sum)
            SELECT one.run, one.root, one.parent, one.owner, CASE WHEN one.admit THEN one.epoch ELSE 0 END, 0,
                one.graph, one.fingerprint, one.standing, one.node, one.created, one.updated, one.due, one.turns,
                one.tokens, one.label, one.error, one.base, one.base_seq, one.head, one.fixed, one.sum
            FROM unnest(
                told, m_admits, m_roots, m_epochs, m_runs, m_owners, m_firsts, m_parents, m_graphs, m_fingerprints,
                m_standings, m_nodes, m_createds, m_updateds, m_dues, m_turns, m_tokens, m_labels, m_errors, m_bases,
                m_base_seqs, m_heads, m_fixeds, m_sums
            ) AS one (told, admit, root, epoch, run, owner, first, parent, graph, fingerprint, standing, node, created,
                updated, due, turns, tokens, label, error, base, base_seq, head, fixed, sum)
            WHERE CASE WHEN one.admit THEN one.told = 'exists' ELSE
                one.first = 0 AND one.standing IS NOT NULL AND EXISTS (
                    SELECT 1 FROM @.run AS tree WHERE tree.id = one.root AND tree.root = one.root
                    AND tree.epoch = one.epoch AND tree.owner IS NOT NULL
                ) AND NOT EXISTS (SELECT 1 FROM @.fact WHERE run = one.run)
            END ORDER BY one.run
            ON CONFLICT DO NOTHING RETURNING id
        ) SELECT array_agg(done.id) INTO made FROM done;
        -- One whose id a deleted run keeps for its forks: seen only now, as that may just have been deleted.
        IF EXISTS (SELECT 1 FROM @.kept WHERE root = ANY (made)) THEN
            FOR i IN 1 .. cardinality(m_runs) LOOP
                IF m_admits[i] AND m_runs[i] = ANY (made) AND EXISTS (SELECT 1 FROM @.kept WHERE root = m_roots[i]) THEN
                    told[i] := 'kept';
                    made := array_remove(made, m_runs[i]);
                    DELETE FROM @.run WHERE id = m_runs[i];
                END IF;
            END LOOP;
        END IF;
    END IF;

    SELECT array_agg(one.number) INTO good
    FROM unnest(m_admits, m_roots, m_epochs, m_runs, m_firsts) WITH ORDINALITY
        AS one (admit, root, epoch, run, first, number)
    WHERE CASE WHEN one.admit OR one.first = 0 THEN one.run = ANY (made) ELSE
        EXISTS (SELECT 1 FROM @.run AS tree WHERE tree.id = one.root AND tree.epoch = one.epoch
            AND tree.owner IS NOT NULL)
        AND (one.run = one.root OR EXISTS (SELECT 1 FROM @.run AS c WHERE c.id = one.run AND c.root = one.root))
        AND EXISTS (SELECT 1 FROM @.fact WHERE run = one.run AND seq = one.first - 1)
        AND NOT EXISTS (SELECT 1 FROM @.fact WHERE run = one.run AND seq >= one.first)
    END;
    IF good IS NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    FOR i IN 1 .. cardinality(good) LOOP
        told[good[i]] := 'done';
    END LOOP;

    UPDATE @.run SET graph = one.graph, fingerprint = one.fingerprint, standing = one.standing, node = one.node,
        updated = one.updated, due = one.due, turns = one.turns, tokens = one.tokens, label = one.label,
        error = one.error, head = one.head, sum = one.sum
    FROM unnest(
        told, m_admits, m_runs, m_firsts, m_graphs, m_fingerprints, m_standings, m_nodes, m_updateds, m_dues, m_turns,
        m_tokens, m_labels, m_errors, m_heads, m_sums
    ) AS one (told, admit, run, first, graph, fingerprint, standing, node, updated, due, turns, tokens, label, error,
        head, sum)
    WHERE run.id = one.run AND one.told = 'done' AND NOT one.admit AND one.first > 0 AND one.standing IS NOT NULL;
    INSERT INTO @.fact (run, seq, kind, node, visit, "on", "to", at, nonce, payload)
    SELECT m_runs[one.member], one.seq, one.kind, one.node, one.visit, one."on", one."to", one.at, m_nonces[one.member],
        one.payload
    FROM unnest(f_members, f_seqs, f_kinds, f_nodes, f_visits, f_ons, f_tos, f_ats, f_payloads)
        AS one (member, seq, kind, node, visit, "on", "to", at, payload)
    WHERE told[one.member] = 'done';
    IF cardinality(g_members) > 0 THEN
        made := ARRAY(
            SELECT one.digest FROM unnest(g_members, g_digests) AS one (member, digest)
            WHERE told[one.member] = 'done'
        );
        DELETE FROM @.request WHERE digest = ANY (made);
        DELETE FROM @.letter WHERE digest = ANY (made);
    END IF;
    IF cardinality(o_members) > 0 THEN
        INSERT INTO @.request (digest, root, run, key, kind, node, opened, data, schema)
        SELECT one.digest, m_roots[one.member], m_runs[one.member], one.key, one.kind, one.node, one.opened, one.data,
            one.schema
        FROM unnest(o_members, o_digests, o_keys, o_kinds, o_nodes, o_opened, o_data, o_schemas)
            AS one (member, digest, key, kind, node, opened, data, schema)
        WHERE told[one.member] = 'done'
        ON CONFLICT (digest) DO UPDATE SET kind = excluded.kind, node = excluded.node, opened = excluded.opened,
            data = excluded.data, schema = excluded.schema;
    END IF;
    IF cardinality(s_members) > 0 THEN
        INSERT INTO @.session_item (session, run, digest, item)
        SELECT one.session, m_runs[one.member], one.digest, one.item
        FROM unnest(s_members, s_sessions, s_digests, s_items) WITH ORDINALITY
            AS one (member, session, digest, item, i)
        WHERE told[one.member] = 'done' ORDER BY one.i
        ON CONFLICT DO NOTHING;
    END IF;
    RETURN NEXT;
END $body$;
"""

STEPS = ("", _TABLES + _FUNCTIONS + _MARK, _LETTERS + _REMOVAL + _WRITE + "INSERT INTO @.flowcore_store VALUES (3);")
"""What leads from each version to the next, an empty schema being version 0. A step is never changed once it was
released; it ends with writing its version."""
OLDEST = 2
"""The oldest version that can be read. 1, from before the first release, had no checksums."""
