"""Matrix-Game behind its commands: requests, worlds, sessions, players."""
