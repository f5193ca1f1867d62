"""Models on a server: the same encoders, with the forward pass somewhere else.

Prompts, lengths, marks and normalization stay here, as the checkpoint says; the server gets finished texts, or token
ids. It is asked for a few known vectors first and refused if it returns others (`korag.remote.canaries`).
"""
