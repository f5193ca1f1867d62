"""Checkpoint layouts that people publish: each as the reference library saves it, next to that library's own output."""
