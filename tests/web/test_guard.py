"""What the guard refuses to whoever is inside."""


def test_what_gradio_would_keep_for_nobody_here_is_not_there(serve):
    """Its routes that store a film or a page's values; viewers could have filled the disk."""
    with serve() as client:
        film = {"video": ("a.mp4", b"film")}
        assert client.post("/gradio_api/process_recording", files=film).status_code == 404
        assert client.get("/gradio_api/deep_link?session_hash=x").status_code == 404
        assert client.get("/config").status_code == 200
