"""Where client keys are set: every page wants one, a browser signs in once, and nobody keeps it."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from mitmproxy import ctx, exceptions, http
from mitmproxy.addons.save import Save
from mitmproxy.addons.view import View

from addons.access import Access
from shim.exchange.access import PAGES
from shim.live.guard import FORM
from tests.addons.harness import ANSWER, CODEX, TURN, Stages, error, stages, with_policy

__all__ = ["stages"]

KEY, OTHER = "client-key-0123456789", "client-key-of-another-1"
FAR = ("192.0.2.7", 4711)
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OPEN = {path for path, page in PAGES.items() if page.open}
ORIGIN = {"origin": "http://127.0.0.1:8080"}


@pytest.fixture
def keyed(stages: Stages) -> Stages:
    ctx.options.update(client_keys=[KEY, OTHER], allow_remote=True, served_hosts=["box"])
    return with_policy(stages)


def ask(
    stages: Stages,
    path: str,
    method: str = "GET",
    body: bytes = b"",
    peer: Any = None,
    **headers: str,
) -> http.HTTPFlow:
    flow = stages.flow(path=path, **{"authorization": "", **headers})
    flow.request.method, flow.request.raw_content = method, body
    if peer:
        flow.client_conn.peername = peer
    stages.fire("requestheaders", flow)
    for hook in ("request", "response"):
        try:
            stages.fire(hook, flow)
        except exceptions.AddonHalt:
            flow.metadata["unseen"] = flow.metadata.get("unseen", 0) + 1
    return flow


def status(flow: http.HTTPFlow) -> int:
    assert flow.response
    return flow.response.status_code


def head(flow: http.HTTPFlow, name: str) -> str:
    assert flow.response
    return str(flow.response.headers.get(name, ""))


def sign_in(
    stages: Stages, key: str = KEY, leads_to: str = "/dashboard", **more: Any
) -> http.HTTPFlow:
    body = f"key={quote(key)}&next={quote(leads_to)}".encode()
    return ask(stages, "/login", "POST", body, content_type=FORM, **{**ORIGIN, **more})


def cookie(flow: http.HTTPFlow) -> dict[str, str]:
    return {"cookie": head(flow, "set-cookie").partition(";")[0]}


@pytest.mark.parametrize("path", PAGES)
def test_every_page_wants_a_key_also_from_here(keyed: Stages, path: str) -> None:
    method = PAGES[path].methods[0]
    for peer in (None, ("::1", 1), FAR):
        for wrong in (
            {},
            {"x_api_key": "wrong"},
            {"cookie": "interpose-8080=a.b"},
            {"cookie": KEY},
        ):
            got = ask(keyed, path, method, peer=peer, **wrong)
            if path in ("/health", "/health/live", "/health/ready"):
                assert status(got) in (200, 503) and got.response
                assert json.loads(got.response.content or b"").keys() <= {"status", "because"}
            else:
                assert status(got) == 401, (peer, wrong)
    for method in ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
        if path not in OPEN or method not in PAGES[path].methods:
            assert status(ask(keyed, path, method)) == 401


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_there_for_who_has_one(keyed: Stages, path: str) -> None:
    signed_in = cookie(sign_in(keyed))
    for proof in ({"x_api_key": KEY}, {"authorization": f"Bearer {OTHER}"}, signed_in):
        if path in ("/api/switch", "/api/login-code"):
            got = ask(keyed, path, "POST", b"{}", content_type="application/json", **proof)
            known = path == "/api/switch" or "cookie" not in proof
            # The page's token is wanted besides; a code for another browser, only a key gets.
            assert status(got) == (403 if path == "/api/switch" else 200 if known else 401)
            continue
        wanted = {"/login": 303, "/health/ready": 503}.get(path, 200)
        assert status(ask(keyed, path, **proof)) == wanted


@pytest.mark.parametrize("path", ["/nonsense", "/v1/models", "/v1/responses/x", "/v1/responses"])
def test_a_cookie_is_for_pages_only(keyed: Stages, path: str) -> None:
    signed_in = cookie(sign_in(keyed))
    assert status(ask(keyed, path, **signed_in)) == 401
    turn = ask(keyed, "/v1/responses", "POST", json.dumps(TURN).encode(), **signed_in)
    assert status(turn) == 401


def test_health_with_a_question_wants_a_key(keyed: Stages) -> None:
    for query in ("live", "live=1", "exchanges=1", "=", "x=1"):
        assert status(ask(keyed, f"/health?{query}")) == 401
    assert status(ask(keyed, "/health?")) == status(ask(keyed, "/health/live?live=1")) == 200


def test_ready_is_what_can_serve_turns(stages: Stages) -> None:
    def ready() -> tuple[int, Any]:
        got = ask(stages, "/health/ready")
        assert got.response
        return status(got), json.loads(got.response.content or b"")

    assert ready() == (503, {"status": "not ready", "because": ["starting"]})
    stages.services.running = True
    assert ready() == (200, {"status": "ready"})
    stages.services.recording.error = "/secret/place: no space left"
    assert ready() == (200, {"status": "ready"}), "it serves unrecorded, as it was told"
    ctx.options.update(record_required=True)
    assert ready() == (503, {"status": "not ready", "because": ["recording"]})
    stages.services.recording.error = None
    assert ready()[0] == 200
    # What a later stage may add.
    stages.services.hindrances.append(lambda: "draining")
    assert ready() == (503, {"status": "not ready", "because": ["draining"]})
    assert status(ask(stages, "/health/live")) == 200


def test_a_browser_is_shown_a_form_and_a_program_is_not(keyed: Stages) -> None:
    for path in ("/dashboard", "/picker", "/metrics", "/health?live=1", "/api/models"):
        shown = ask(keyed, path, **HTML)
        assert (
            status(shown) == 401 and "text/html" in head(shown, "content-type") and shown.response
        )
        text = (shown.response.content or b"").decode()
        assert f'name="next" value="{path.partition("?")[0]}"' in text and "<script" not in text
        assert "form-action 'self'" in head(shown, "content-security-policy")
        assert "one of its client keys" in error(ask(keyed, path))[1]
    for path in ("/v1/models", "/nonsense"):
        assert "json" in head(ask(keyed, path, **HTML), "content-type")


@pytest.mark.parametrize(
    ("wanted", "led"),
    [
        ("/picker", "/picker"),
        ("/metrics", "/metrics"),
        ("", "/dashboard"),
        ("/login", "/dashboard"),
        ("/api/switch", "/dashboard"),
        ("//evil.example/dashboard", "/dashboard"),
        ("https://evil.example", "/dashboard"),
        ("/dashboard\r\nset-cookie: x=1", "/dashboard"),
    ],
)
def test_a_key_becomes_a_cookie(keyed: Stages, wanted: str, led: str) -> None:
    done = sign_in(keyed, leads_to=wanted)
    assert (status(done), head(done, "location")) == (303, led)
    given = head(done, "set-cookie")
    assert KEY not in given and "HttpOnly; SameSite=Strict" in given and "Secure" not in given
    assert status(ask(keyed, "/dashboard", **cookie(done))) == 200
    assert status(ask(keyed, "/health?exchanges=1", peer=FAR, **cookie(done))) == 200


def test_a_wrong_key_is_told_and_slowed_down(keyed: Stages) -> None:
    for n in range(5):
        wrong = sign_in(keyed, f"wrong-{n}")
        assert status(wrong) == 401 and not head(wrong, "set-cookie") and wrong.response
        assert b"That is none of the chain&#x27;s client keys." in (wrong.response.content or b"")
    waits = sign_in(keyed)
    assert status(waits) == 429 and head(waits, "retry-after") == "2" and waits.response
    assert b"try again in 2 s" in (waits.response.content or b"")
    assert status(sign_in(keyed, peer=FAR)) == 303, "from elsewhere"
    assert status(ask(keyed, "/metrics", x_api_key=KEY)) == 200, "a program is not in the way"


@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "https://evil.example"},
        {"origin": "http://127.0.0.1:9999"},
        {"sec_fetch_site": "cross-site"},
        {"content_type": "application/json"},
        {"host": "evil.example"},
    ],
)
def test_a_page_of_another_site_signs_nobody_in(keyed: Stages, foreign: dict[str, str]) -> None:
    body = f"key={KEY}".encode()
    got = ask(keyed, "/login", "POST", body, **{"content_type": FORM, **ORIGIN, **foreign})
    assert status(got) in (403, 415) and not head(got, "set-cookie")


def code_for(stages: Stages, page: str = "/picker", **proof: str) -> str:
    body = json.dumps({"page": page}).encode()
    got = ask(stages, "/api/login-code", "POST", body, **proof)
    assert status(got) == 200 and got.response, got.response
    assert got.metadata.get("unseen") == 2, "others get it in neither hook"
    return str(json.loads(got.response.content or b"")["path"])


def test_a_code_opens_a_page_once(keyed: Stages) -> None:
    path = code_for(keyed, x_api_key=KEY)
    assert re.fullmatch(r"/login\?token=[\w.-]+&next=/picker", path) and KEY not in path
    led = ask(keyed, path, **HTML, sec_fetch_site="none")
    assert (status(led), head(led, "location")) == (303, "/picker")
    assert status(ask(keyed, "/picker", **cookie(led))) == 200
    again = ask(keyed, path, **HTML)
    assert status(again) == 401 and not head(again, "set-cookie") and again.response
    assert b"good once and for a minute" in (again.response.content or b"")
    # Whoever has signed in already uses it up, too.
    path = code_for(keyed, x_api_key=KEY)
    assert head(ask(keyed, path, **cookie(led)), "location") == "/picker"
    assert status(ask(keyed, path)) == 401


def test_a_code_behind_a_link_of_another_site(keyed: Stages) -> None:
    """The browser would not send the cookie on to the page it is led to."""
    path = code_for(keyed, x_api_key=KEY)
    followed = ask(keyed, path, **HTML, sec_fetch_site="cross-site")
    assert status(followed) == 401 and not head(followed, "set-cookie") and followed.response
    assert b"Paste this address" in (followed.response.content or b"")
    assert status(ask(keyed, path, **HTML, sec_fetch_site="none")) == 303


def test_who_gets_a_code(keyed: Stages) -> None:
    body = b'{"page": "/picker"}'
    signed_in = cookie(sign_in(keyed))
    for refused in ({}, signed_in, {"x_api_key": "wrong"}):
        assert status(ask(keyed, "/api/login-code", "POST", body, **refused)) == 401
    foreign = {"x_api_key": KEY, "origin": "http://127.0.0.1:9999"}
    assert status(ask(keyed, "/api/login-code", "POST", body, **foreign)) == 403
    for odd in (b"", b"[]", b'{"page": 3}', b'{"x": 1}', b"\xff"):
        assert status(ask(keyed, "/api/login-code", "POST", odd, x_api_key=KEY)) == 400
    ctx.options.update(client_keys=[], allow_remote=False)
    assert code_for(keyed) == "/picker"
    assert head(ask(keyed, "/login?next=/picker"), "location") == "/picker"
    assert head(sign_in(keyed, "any"), "location") == "/dashboard"


def test_a_key_that_is_taken_back(keyed: Stages) -> None:
    mine, others = cookie(sign_in(keyed)), cookie(sign_in(keyed, OTHER))
    path = code_for(keyed, x_api_key=OTHER)
    ctx.options.update(client_keys=[KEY])
    assert status(ask(keyed, "/metrics", x_api_key=OTHER)) == 401
    assert status(ask(keyed, "/metrics", **others)) == status(ask(keyed, path)) == 401
    assert status(ask(keyed, "/metrics", **mine)) == 200
    keyed.one(Access).follow()
    ctx.options.update(client_keys=[KEY, OTHER])
    assert status(ask(keyed, "/metrics", **others)) == 401, "it has to sign in anew"


def test_an_empty_file_of_keys_lets_nobody_in(stages: Stages, tmp_path: Any) -> None:
    file = tmp_path / "keys"
    file.write_text(KEY)
    stages.services.client_keys.start({"INTERPOSE_CLIENT_KEYS_FILE": str(file)})

    def metrics() -> int:
        stages.services.client_keys.look()
        stages.one(Access).follow()
        return status(ask(stages, "/metrics", x_api_key=KEY))

    assert metrics() == 200
    file.write_text("")
    assert metrics() == 401 and status(sign_in(stages)) == 401
    file.write_text(KEY)
    assert metrics() == 200
    file.unlink()
    assert metrics() == 200
    shown = ask(stages, "/health", x_api_key=KEY)
    assert shown.response
    told = json.loads(shown.response.content or b"")
    assert told["status"] == "degraded" and str(file) in told["client_keys"]["error"]
    bare = ask(stages, "/health")
    assert bare.response and json.loads(bare.response.content or b"") == {"status": "degraded"}
    page = ask(stages, "/dashboard", x_api_key=KEY)
    assert page.response and b"client keys&#x27; latest change" in (page.response.content or b"")


def test_nobody_who_looks_at_flows_sees_a_key(keyed: Stages) -> None:
    ctx.master.addons.add(view := View(), save := Save())
    seen: list[str] = []

    def look(flow: http.HTTPFlow) -> None:
        held = [one for one in view.resolve("@all") if isinstance(one, http.HTTPFlow)]
        seen.extend(str(one.get_state()) for one in [*held, *save.active_flows])

    def run(path: str, method: str = "GET", body: bytes = b"", **headers: str) -> http.HTTPFlow:
        flow = keyed.flow(path=path, **{"authorization": "", **headers})
        flow.request.method = method
        keyed.fire("requestheaders", flow)
        view.requestheaders(flow)
        look(flow)
        flow.request.raw_content = body
        for hook in ("request", "response"):
            try:
                keyed.fire(hook, flow)
                save.active_flows.add(flow)
            except exceptions.AddonHalt:
                assert not view.get_by_id(flow.id)
            look(flow)
        return flow

    form = {"content_type": FORM, **ORIGIN}
    body = f"key={KEY}".encode()
    done = run("/login", "POST", body, **form)
    token = cookie(done)["cookie"].partition("=")[2]
    got = run("/api/login-code", "POST", b"{}", x_api_key=KEY)
    assert got.response
    path = json.loads(got.response.content or b"")["path"]
    code = path.partition("token=")[2].partition("&")[0]
    run(path)
    assert status(run(path, **HTML)) == 401
    run("/picker", **cookie(done))
    run("/metrics", authorization=f"Bearer {KEY}")
    run("/health?live=1", x_api_key=KEY)
    # Refused: by the address, the site, the method, the path, the key.
    run("/login", "POST", body, **{**form, "host": "evil.example"})
    run("/login", "POST", body, **{**form, "origin": "https://evil.example"})
    run("/login", "POST", body, **{**form, "content_type": "text/plain"})
    run("/login", "PUT", body, **form)
    run("/nonsense", "POST", body, x_api_key=KEY)
    run("/v1/models", "POST", body, x_api_key=KEY)
    run("/dashboard", "POST", body, authorization=f"Bearer {KEY}", **HTML)
    run("/v1/responses", "POST", body, cookie=f"interpose-8080={token}")
    # A turn, from its head on; what leaves has no key of a client's.
    keyed.fire(
        "requestheaders", turn := keyed.flow(TURN, path=f"/v1/responses?key={KEY}", x_api_key=KEY)
    )
    view.requestheaders(turn)
    look(turn)
    keyed.fire("request", turn)
    look(turn)
    assert len(seen) > 30 and len(token) > 50 and len(code) > 50
    for secret in (KEY, token, code):
        assert not [state for state in seen if secret in state], secret


def test_a_turn_takes_no_cookie_of_ours_along(keyed: Stages) -> None:
    signed_in = cookie(sign_in(keyed))["cookie"]
    ctx.options.update(upstream="responses")
    keyed.services.policies.open(None)
    turn = keyed.send(keyed.flow(TURN, x_api_key=KEY, cookie=f"a=1; {signed_in}", **CODEX))
    assert turn.response is None and turn.request.headers["cookie"] == "a=1"
    assert keyed.answer(turn, ANSWER)
