"""The input tables of an instance as frames, for `materialize_to_memory`.

Copy filters are applied to the frames themselves. A sample is chosen by PostgreSQL, by the engine
of `in_database`: frames go to a scratch schema, and the chosen rows are taken out of the frames.
"""
