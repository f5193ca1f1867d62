"""Models of one plain layout, run without sentence-transformers and transformers, which take seconds to import.

`load.load_light` takes what it fully understands: ModernBERT with a mean, a token projection or SPLADE's pooling behind
it, as the bundled models are. It looks at what the files say, never at a name. Whatever differs in anything is loaded
by `korag.encoders.sentence_transformers`, which is also what trains, and what ``backend="sentence-transformers"`` asks
for.

The classes here have the names and attributes of those in sentence-transformers that they stand for, so the rest of
`korag.encoders` need not tell them apart (`korag.encoders.kinds`).
"""
