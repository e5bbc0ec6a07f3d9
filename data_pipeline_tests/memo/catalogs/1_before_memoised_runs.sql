CREATE SCHEMA full_catalog;
CREATE SCHEMA full_raw;
CREATE SCHEMA full_raw__staging;
CREATE SCHEMA full_stage_1;
CREATE SCHEMA full_stage_1__staging;
CREATE SCHEMA full_stage_2;
CREATE SCHEMA full_stage_2__staging;
CREATE SCHEMA mini_catalog;
CREATE SCHEMA mini_stage_1;
CREATE SCHEMA mini_stage_1__staging;
CREATE SCHEMA mini_stage_2;
CREATE SCHEMA mini_stage_2__staging;
CREATE TABLE full_catalog.tables (
    stage text NOT NULL,
    name text NOT NULL,
    kind text,
    location text,
    cache_key text,
    code_version text,
    data_version text,
    inputs jsonb,
    properties jsonb,
    row_count bigint,
    bytes bigint,
    run_id text,
    username text,
    host text,
    committed_at timestamp with time zone
);
CREATE TABLE full_raw.t (
    k bigint NOT NULL,
    v bigint
);
CREATE TABLE full_stage_1.b (
    k bigint,
    v bigint
);
CREATE VIEW full_stage_1.t AS
 SELECT k,
    v
   FROM full_raw.t;
CREATE TABLE full_stage_2.query (
    k bigint,
    v bigint
);
CREATE TABLE mini_catalog.tables (
    stage text NOT NULL,
    name text NOT NULL,
    kind text,
    location text,
    cache_key text,
    code_version text,
    data_version text,
    inputs jsonb,
    properties jsonb,
    row_count bigint,
    bytes bigint,
    run_id text,
    username text,
    host text,
    committed_at timestamp with time zone
);
CREATE TABLE mini_stage_1.b (
    k bigint,
    v bigint
);
CREATE TABLE mini_stage_1.t (
    k bigint NOT NULL,
    v bigint
);
CREATE TABLE mini_stage_2.query (
    k bigint,
    v bigint
);
INSERT INTO full_catalog.tables VALUES ('raw', 't', 'table', NULL, NULL, '1', 'b18f8c34536ebc3adf269e3b13d85c3b', '{}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": ["k"], "foreign_keys": []}', 3, 24576, 'd2b9e651-f7d6-4713-ae3b-3a4d3db93abe', 'somebody', 'machine', '2026-11-28 20:59:54.822147+00');
INSERT INTO full_catalog.tables VALUES ('stage_1', 't', 'view', 'full_raw.t', '64de2d5a38703fa17fd950fef937c98a', '5d0fb263458be59e', 'b18f8c34536ebc3adf269e3b13d85c3b', '{"full/raw/t": "b18f8c34536ebc3adf269e3b13d85c3b"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": ["k"], "foreign_keys": []}', 3, NULL, 'd2b9e651-f7d6-4713-ae3b-3a4d3db93abe', 'somebody', 'machine', '2026-11-28 20:59:55.198905+00');
INSERT INTO full_catalog.tables VALUES ('stage_1', 'b', 'table', NULL, NULL, '1', 'c6f6db500a6aa51569658c9bed2b9d61', '{"full/stage_1/t": "b18f8c34536ebc3adf269e3b13d85c3b"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 3, 8192, 'd2b9e651-f7d6-4713-ae3b-3a4d3db93abe', 'somebody', 'machine', '2026-11-28 20:59:55.526062+00');
INSERT INTO full_catalog.tables VALUES ('stage_2', 'query', 'table', NULL, '93cb1d741720558dcb648fb472c7d854', '1', 'd505759f64f0ef10b891af70afa5547c', '{"full/stage_1/b": "c6f6db500a6aa51569658c9bed2b9d61"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 3, 8192, 'd2b9e651-f7d6-4713-ae3b-3a4d3db93abe', 'somebody', 'machine', '2026-11-28 20:59:56.544091+00');
INSERT INTO full_raw.t VALUES (1, 1);
INSERT INTO full_raw.t VALUES (2, 1);
INSERT INTO full_raw.t VALUES (3, 1);
INSERT INTO full_stage_1.b VALUES (1, 2);
INSERT INTO full_stage_1.b VALUES (2, 2);
INSERT INTO full_stage_1.b VALUES (3, 2);
INSERT INTO full_stage_2.query VALUES (1, 2);
INSERT INTO full_stage_2.query VALUES (2, 2);
INSERT INTO full_stage_2.query VALUES (3, 2);
INSERT INTO mini_catalog.tables VALUES ('stage_1', 't', 'table', NULL, 'cb7bbebce290b9c20c137f6d7f6b167a', '5d0fb263458be59e', 'e26a458a6b35421ff235229b981b2268', '{"full/raw/t": "b18f8c34536ebc3adf269e3b13d85c3b"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": ["k"], "foreign_keys": []}', 1, 24576, '31d4840f-5375-496c-aa47-7a7d4285990b', 'somebody', 'machine', '2026-11-28 20:59:57.745162+00');
INSERT INTO mini_catalog.tables VALUES ('stage_1', 'b', 'table', NULL, NULL, '1', '5d3a9026bcac8ea00dae3ebeec266b76', '{"mini/stage_1/t": "e26a458a6b35421ff235229b981b2268"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 1, 8192, '31d4840f-5375-496c-aa47-7a7d4285990b', 'somebody', 'machine', '2026-11-28 20:59:57.988881+00');
INSERT INTO mini_catalog.tables VALUES ('stage_2', 'query', 'table', NULL, 'd0674d987cf2a52de776f15d350a2216', '1', '796c4638c7660584035da75b3539757a', '{"mini/stage_1/b": "5d3a9026bcac8ea00dae3ebeec266b76"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 1, 8192, '31d4840f-5375-496c-aa47-7a7d4285990b', 'somebody', 'machine', '2026-11-28 20:59:58.353563+00');
INSERT INTO mini_stage_1.b VALUES (1, 2);
INSERT INTO mini_stage_1.t VALUES (1, 1);
INSERT INTO mini_stage_2.query VALUES (1, 2);
ALTER TABLE ONLY full_catalog.tables
    ADD CONSTRAINT tables_pkey PRIMARY KEY (stage, name);
ALTER TABLE ONLY full_raw.t
    ADD CONSTRAINT t_pkey PRIMARY KEY (k);
ALTER TABLE ONLY mini_catalog.tables
    ADD CONSTRAINT tables_pkey PRIMARY KEY (stage, name);
ALTER TABLE ONLY mini_stage_1.t
    ADD CONSTRAINT t_pkey PRIMARY KEY (k);
