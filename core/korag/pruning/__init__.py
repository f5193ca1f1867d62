"""Pruning: leaving out of a passage what does not belong to the query, sentence by sentence."""
