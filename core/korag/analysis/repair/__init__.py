"""Queries as Koreans really type them: the wrong keyboard layout, loose jamo, wrong spaces, a wrong jamo."""
