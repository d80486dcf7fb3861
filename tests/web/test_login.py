"""With a password: the log-in page, wrong passwords, sessions, and what stays shut without one."""

from distill_studio.web.identity import COOKIE, MAX_TRIES

PASSWORD = "correct horse"
OPEN = {"host": "0.0.0.0", "password": PASSWORD}
HTML = {"accept": "text/html"}


def log_in(client, password=PASSWORD, user="ann", next_path="/"):
    return client.post("/login", data={"user": user, "password": password, "next": next_path})


def test_a_stranger_is_sent_to_the_log_in_page(serve):
    with serve(**OPEN) as client:
        answer = client.get("/?tab=review", headers=HTML)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/login?next=/%3Ftab")
        assert 'name="password"' in client.get(answer.headers["location"]).text


def test_without_a_session_the_api_files_and_gradio_refuse(serve):
    with serve(**OPEN) as client:
        for path in ("/api/status", "/api/operations", "/files/main/exports/x", "/config"):
            assert client.get(path).status_code == 401, path
        for path in ("/api/main/overview_counts", "/gradio_api/queue/join", "/api/uploads"):
            assert client.post(path, json={}).status_code == 401, path


def test_a_right_password_opens_the_api_and_names_the_user(serve):
    with serve(**OPEN) as client:
        answer = log_in(client, next_path="/?tab=review")
        assert answer.status_code == 303
        assert answer.headers["location"] == "/?tab=review"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        assert client.get("/api/status").status_code == 200
        assert client.get("/", headers=HTML).status_code == 200
        client.post("/logout")
        client.cookies.clear()
        assert client.get("/api/status").status_code == 401


def test_a_wrong_password_is_refused_and_many_are_stopped(serve):
    with serve(**OPEN) as client:
        for _ in range(MAX_TRIES):
            answer = log_in(client, "guess")
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers
        assert log_in(client, "guess").status_code == 429
        assert log_in(client).status_code == 429  # even the right one has to wait now


def test_log_in_never_leads_to_another_site(serve):
    with serve(**OPEN) as client:
        for target in (
            "//evil.example/",
            "/\\evil.example",
            "https://evil.example/",
            "javascript:1",
        ):
            assert log_in(client, next_path=target).headers["location"] == "/", target


def test_the_form_escapes_where_it_leads(serve):
    with serve(**OPEN) as client:
        page = client.get("/login", params={"next": '"><script>alert(1)</script>'}).text
        assert "<script>" not in page


def test_a_forged_cookie_and_a_cookie_of_the_old_password_are_refused(serve):
    with serve(**OPEN) as client:
        client.cookies.set(COOKIE, "ImFubiI.ZZZZ.forged")
        assert client.get("/api/status").status_code == 401
    with serve(**OPEN) as client:
        session = log_in(client).cookies[COOKIE]
        assert client.get("/api/status").status_code == 200
    with serve(host="0.0.0.0", password="another") as client:
        client.cookies.set(COOKIE, session)
        assert client.get("/api/status").status_code == 401


def test_a_session_outlives_a_restart_and_ends_for_good_with_the_log_out(serve):
    with serve(**OPEN) as client:
        session = log_in(client).cookies[COOKIE]
    with serve(**OPEN) as client:
        client.cookies.set(COOKIE, session)
        assert client.get("/api/status").status_code == 200
        client.post("/logout")
        client.cookies.clear()
        client.cookies.set(COOKIE, session)  # a copy that somebody kept
        assert client.get("/api/status").status_code == 401


def test_the_page_says_why_in_the_studios_own_words_only(serve):
    with serve(**OPEN) as client:
        page = client.get("/login?why=first&user=ann%22%3E%3Cb%3E&next=/%3Ftab%3Dpeople").text
        assert "from here on everybody logs in, you included" in page
        assert 'value="ann&quot;&gt;&lt;b&gt;"' in page
        assert 'name="next" value="/?tab=people"' in page
        other = client.get("/login?why=Call+this+number").text
        assert "Call this number" not in other
        assert "you included" not in other
