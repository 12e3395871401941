"""`tollgate demo`: the main job on 28,185 real calls, and the proof that its figures are right.

Owns the demo's input (`trace`, `customers`, `events`, `malformed`), what must come out of it
(`totals`, which shares nothing with the pipeline), and the run (`run`, `observe`, `report`).
Everything between the first record and the last row is the product itself.
"""
