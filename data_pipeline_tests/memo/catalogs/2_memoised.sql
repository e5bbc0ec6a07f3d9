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
    query_key text,
    code_version text,
    code_parts jsonb,
    identity jsonb,
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
    query_key text,
    code_version text,
    code_parts jsonb,
    identity jsonb,
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
INSERT INTO full_catalog.tables VALUES ('raw', 't', 'table', NULL, 'b7209c1ec286acb0a7c8c6c557b5af8e', NULL, '1', '{}', '{"attrs": null, "config": "6b2d0fada5bde8011193b568f963f25ab78d4e3eb07d1bf6a68fb6968ddbc39d", "source": "cb7d124d451cce2f5ae0fc28d50fc2ebacf5b45e3e8ac06532a30aa9d64b6975", "declared": "90b4f5e9c00f29a1eeb3c93a14f96447"}', 'b18f8c34536ebc3adf269e3b13d85c3b', '{}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": ["k"], "foreign_keys": []}', 3, 24576, '1e454ff4-245b-4df6-a932-cf7e720633db', 'somebody', 'machine', '2026-11-28 20:57:43.040146+00');
INSERT INTO full_catalog.tables VALUES ('stage_1', 't', 'view', 'full_raw.t', '6a62c496cbef4b612c8779cd730bbb0f', '64de2d5a38703fa17fd950fef937c98a', '5d0fb263458be59e', '{}', '{"attrs": "88e0b21d708f3f52827210858b0fd03b0c47f59adf5aeff57264e0e31e8e476a", "config": "6b2d0fada5bde8011193b568f963f25ab78d4e3eb07d1bf6a68fb6968ddbc39d", "source": null, "declared": "90b4f5e9c00f29a1eeb3c93a14f96447"}', 'b18f8c34536ebc3adf269e3b13d85c3b', '{"full/raw/t": "b18f8c34536ebc3adf269e3b13d85c3b"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": ["k"], "foreign_keys": []}', 3, NULL, '1e454ff4-245b-4df6-a932-cf7e720633db', 'somebody', 'machine', '2026-11-28 20:57:44.735702+00');
INSERT INTO full_catalog.tables VALUES ('stage_1', 'b', 'table', NULL, 'bc02422beb92963b3b00f76e88686d06', NULL, '1', '{}', '{"attrs": null, "config": "6b2d0fada5bde8011193b568f963f25ab78d4e3eb07d1bf6a68fb6968ddbc39d", "source": null, "declared": "b0dec2f7e54ca36bfe251b9b89d68096"}', 'c6f6db500a6aa51569658c9bed2b9d61', '{"full/stage_1/t": "b18f8c34536ebc3adf269e3b13d85c3b"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 3, 8192, '1e454ff4-245b-4df6-a932-cf7e720633db', 'somebody', 'machine', '2026-11-28 20:57:45.538468+00');
INSERT INTO full_catalog.tables VALUES ('stage_2', 'query', 'table', NULL, '382c0689dec20b7e683d5576cd952aea', '93cb1d741720558dcb648fb472c7d854', '1', '{}', '{"attrs": null, "config": "6b2d0fada5bde8011193b568f963f25ab78d4e3eb07d1bf6a68fb6968ddbc39d", "source": null, "declared": "b0dec2f7e54ca36bfe251b9b89d68096"}', 'd505759f64f0ef10b891af70afa5547c', '{"full/stage_1/b": "c6f6db500a6aa51569658c9bed2b9d61"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 3, 8192, '1e454ff4-245b-4df6-a932-cf7e720633db', 'somebody', 'machine', '2026-11-28 20:57:46.080182+00');
INSERT INTO full_raw.t VALUES (1, 1);
INSERT INTO full_raw.t VALUES (2, 1);
INSERT INTO full_raw.t VALUES (3, 1);
INSERT INTO full_stage_1.b VALUES (1, 2);
INSERT INTO full_stage_1.b VALUES (2, 2);
INSERT INTO full_stage_1.b VALUES (3, 2);
INSERT INTO full_stage_2.query VALUES (1, 2);
INSERT INTO full_stage_2.query VALUES (2, 2);
INSERT INTO full_stage_2.query VALUES (3, 2);
INSERT INTO mini_catalog.tables VALUES ('stage_1', 't', 'table', NULL, '3d46609c52c1eecd9aa1173fe6aacf18', 'cb7bbebce290b9c20c137f6d7f6b167a', '5d0fb263458be59e', '{}', '{"attrs": "3ce1ac2ca990654de289a87c697c70ee03cf01eaecffccf854f8dc018f64b552", "config": "6b2d0fada5bde8011193b568f963f25ab78d4e3eb07d1bf6a68fb6968ddbc39d", "source": null, "declared": "90b4f5e9c00f29a1eeb3c93a14f96447"}', 'e26a458a6b35421ff235229b981b2268', '{"full/raw/t": "b18f8c34536ebc3adf269e3b13d85c3b"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": ["k"], "foreign_keys": []}', 1, 24576, 'b315e11a-ad3d-47f6-b7b5-e07f63a58f34', 'somebody', 'machine', '2026-11-28 20:57:47.671416+00');
INSERT INTO mini_catalog.tables VALUES ('stage_1', 'b', 'table', NULL, '08257f65f41bdbbf324911e96f865a55', NULL, '1', '{}', '{"attrs": null, "config": "6b2d0fada5bde8011193b568f963f25ab78d4e3eb07d1bf6a68fb6968ddbc39d", "source": null, "declared": "b0dec2f7e54ca36bfe251b9b89d68096"}', '5d3a9026bcac8ea00dae3ebeec266b76', '{"mini/stage_1/t": "e26a458a6b35421ff235229b981b2268"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 1, 8192, 'b315e11a-ad3d-47f6-b7b5-e07f63a58f34', 'somebody', 'machine', '2026-11-28 20:57:48.074462+00');
INSERT INTO mini_catalog.tables VALUES ('stage_2', 'query', 'table', NULL, 'bb100e125f93ad0a821110735a004532', 'd0674d987cf2a52de776f15d350a2216', '1', '{}', '{"attrs": null, "config": "6b2d0fada5bde8011193b568f963f25ab78d4e3eb07d1bf6a68fb6968ddbc39d", "source": null, "declared": "b0dec2f7e54ca36bfe251b9b89d68096"}', '796c4638c7660584035da75b3539757a', '{"mini/stage_1/b": "5d3a9026bcac8ea00dae3ebeec266b76"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 1, 8192, 'b315e11a-ad3d-47f6-b7b5-e07f63a58f34', 'somebody', 'machine', '2026-11-28 20:57:48.536369+00');
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
