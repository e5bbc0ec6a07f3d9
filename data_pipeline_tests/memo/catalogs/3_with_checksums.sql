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
    checksum text,
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
    checksum text,
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
INSERT INTO full_catalog.tables VALUES ('raw', 't', 'table', NULL, '6ab5412de078926e064b1cc5c609b77f', NULL, '1', '{}', '{"attrs": null, "config": "95922c3622377f7073605d9af74e9f3d5e9ddfba6c2507b6bc2c1b3dcd0fbf7b", "source": "cb7d124d451cce2f5ae0fc28d50fc2ebacf5b45e3e8ac06532a30aa9d64b6975", "wiring": "7f17aa85d27e9893e22e6d9204d37daaaac80f43589929fff9d054989919ac72", "declared": "90b4f5e9c00f29a1eeb3c93a14f96447"}', 'b18f8c34536ebc3adf269e3b13d85c3b', NULL, '{}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": ["k"], "foreign_keys": []}', 3, 24576, 'd3f3f024-69d4-4ec4-b356-7142f62012f7', 'somebody', 'machine', '2026-11-28 20:58:11.066995+00');
INSERT INTO full_catalog.tables VALUES ('stage_1', 't', 'view', 'full_raw.t', '6b54869484bc14447d8dd8b74969ebff', '64de2d5a38703fa17fd950fef937c98a', '5d0fb263458be59e', '{}', '{"attrs": "88e0b21d708f3f52827210858b0fd03b0c47f59adf5aeff57264e0e31e8e476a", "config": "6661f1ccdf409ad68b49765750c4573c1af6d848f78577d4ca26f27e5b6347d6", "source": null, "wiring": "ae0d3fce31cd5ca8c35275c755dbf09ad6dfeb4b31e7a03d1c9a8a95c5a9dab7", "declared": "90b4f5e9c00f29a1eeb3c93a14f96447"}', 'b18f8c34536ebc3adf269e3b13d85c3b', NULL, '{"full/raw/t": "b18f8c34536ebc3adf269e3b13d85c3b"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": ["k"], "foreign_keys": []}', 3, NULL, 'd3f3f024-69d4-4ec4-b356-7142f62012f7', 'somebody', 'machine', '2026-11-28 20:58:12.972685+00');
INSERT INTO full_catalog.tables VALUES ('stage_1', 'b', 'table', NULL, '77e0bc4df33509947b43949abd3626bb', NULL, '1', '{}', '{"attrs": null, "config": "ed12b48a24d8903ea58ccb9a2f8a0d9885247cd073e1fba72be0e7cfe64452f9", "source": null, "wiring": "46cc1ecc048ccc163a74086108dbbc297d476af1d9d4b117c5fbb93d58dcfa65", "declared": "b0dec2f7e54ca36bfe251b9b89d68096"}', 'c6f6db500a6aa51569658c9bed2b9d61', NULL, '{"full/stage_1/t": "b18f8c34536ebc3adf269e3b13d85c3b"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 3, 8192, 'd3f3f024-69d4-4ec4-b356-7142f62012f7', 'somebody', 'machine', '2026-11-28 20:58:13.535975+00');
INSERT INTO full_catalog.tables VALUES ('stage_2', 'query', 'table', NULL, '43473a5316f56686551b4021d305cbaa', '93cb1d741720558dcb648fb472c7d854', '1', '{}', '{"attrs": null, "config": "8d815ef7b28a3cc341ba5131b1a03308973e46c0d26cfad43e036b9c51a38345", "source": null, "wiring": "d7a52c085610dab41e6469d35af006f2953333cdefffc6455662c5d5e53b57b6", "declared": "b0dec2f7e54ca36bfe251b9b89d68096"}', 'd505759f64f0ef10b891af70afa5547c', NULL, '{"full/stage_1/b": "c6f6db500a6aa51569658c9bed2b9d61"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 3, 8192, 'd3f3f024-69d4-4ec4-b356-7142f62012f7', 'somebody', 'machine', '2026-11-28 20:58:14.076847+00');
INSERT INTO full_raw.t VALUES (1, 1);
INSERT INTO full_raw.t VALUES (2, 1);
INSERT INTO full_raw.t VALUES (3, 1);
INSERT INTO full_stage_1.b VALUES (1, 2);
INSERT INTO full_stage_1.b VALUES (2, 2);
INSERT INTO full_stage_1.b VALUES (3, 2);
INSERT INTO full_stage_2.query VALUES (1, 2);
INSERT INTO full_stage_2.query VALUES (2, 2);
INSERT INTO full_stage_2.query VALUES (3, 2);
INSERT INTO mini_catalog.tables VALUES ('stage_1', 't', 'table', NULL, '653be8cd6253ebc0d1c611aabaf41984', 'cb7bbebce290b9c20c137f6d7f6b167a', '5d0fb263458be59e', '{}', '{"attrs": "3ce1ac2ca990654de289a87c697c70ee03cf01eaecffccf854f8dc018f64b552", "config": "6661f1ccdf409ad68b49765750c4573c1af6d848f78577d4ca26f27e5b6347d6", "source": null, "wiring": "ae0d3fce31cd5ca8c35275c755dbf09ad6dfeb4b31e7a03d1c9a8a95c5a9dab7", "declared": "90b4f5e9c00f29a1eeb3c93a14f96447"}', 'e26a458a6b35421ff235229b981b2268', NULL, '{"full/raw/t": "b18f8c34536ebc3adf269e3b13d85c3b"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": ["k"], "foreign_keys": []}', 1, 24576, '417f7a6b-ca8b-45eb-a046-6aaaf4a80e13', 'somebody', 'machine', '2026-11-28 20:58:15.749295+00');
INSERT INTO mini_catalog.tables VALUES ('stage_1', 'b', 'table', NULL, '17adf82a4ad2f96ed19c96b70880d0cf', NULL, '1', '{}', '{"attrs": null, "config": "ed12b48a24d8903ea58ccb9a2f8a0d9885247cd073e1fba72be0e7cfe64452f9", "source": null, "wiring": "46cc1ecc048ccc163a74086108dbbc297d476af1d9d4b117c5fbb93d58dcfa65", "declared": "b0dec2f7e54ca36bfe251b9b89d68096"}', '5d3a9026bcac8ea00dae3ebeec266b76', NULL, '{"mini/stage_1/t": "e26a458a6b35421ff235229b981b2268"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 1, 8192, '417f7a6b-ca8b-45eb-a046-6aaaf4a80e13', 'somebody', 'machine', '2026-11-28 20:58:16.213147+00');
INSERT INTO mini_catalog.tables VALUES ('stage_2', 'query', 'table', NULL, 'ba8015f6b0b6cb5f8a827f3e27683e58', 'd0674d987cf2a52de776f15d350a2216', '1', '{}', '{"attrs": null, "config": "8d815ef7b28a3cc341ba5131b1a03308973e46c0d26cfad43e036b9c51a38345", "source": null, "wiring": "d7a52c085610dab41e6469d35af006f2953333cdefffc6455662c5d5e53b57b6", "declared": "b0dec2f7e54ca36bfe251b9b89d68096"}', '796c4638c7660584035da75b3539757a', NULL, '{"mini/stage_1/b": "5d3a9026bcac8ea00dae3ebeec266b76"}', '{"types": {}, "indexes": [], "nullable": null, "unlogged": null, "primary_key": [], "foreign_keys": []}', 1, 8192, '417f7a6b-ca8b-45eb-a046-6aaaf4a80e13', 'somebody', 'machine', '2026-11-28 20:58:16.919881+00');
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
