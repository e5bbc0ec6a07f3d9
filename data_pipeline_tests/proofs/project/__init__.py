"""A small pipeline that is hard to commit: a cycle of stages, blobs, views, SQL and data frames.

All of its data has a generation, which the environment names: every table says in its column
`generation` of which one it is, and -1 if it was made from inputs of several. So a mix is visible
in SQL, and every new generation is computed from end to end.
"""
