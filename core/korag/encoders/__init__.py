"""Encoders: one class a family, all loaded by `korag.load_encoder`."""
