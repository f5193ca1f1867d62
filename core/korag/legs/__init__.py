"""Legs: the ways to search, each with its storage."""
