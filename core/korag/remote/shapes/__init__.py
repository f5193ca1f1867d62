"""The requests and answers of servers: one file per API."""
