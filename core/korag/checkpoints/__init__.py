"""Model files: what is known of published models, where they are, and what their layouts say."""
