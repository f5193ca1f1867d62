"""Windows: parts of a long document that a model reads one at a time. A document scores as its best window does."""
