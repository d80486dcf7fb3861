"""The HTTP face: who is asking, the JSON API, files, log-in. Start from `server.serve`."""
