"""The smallest complete pipeline: two raw tables, two stages."""

from data_pipeline.pipelines.quickstart import raw, stage_1, stage_2

assets = [raw.dfa, raw.dfb, stage_1.inputs, stage_1.a2, stage_2.b2, stage_2.a3]
