"""The collection in one folder, or in memory."""
