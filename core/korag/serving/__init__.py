"""A collection for other programs: an HTTP server (`korag.serving.app`) and one for agents (`korag.serving.agents`)."""
