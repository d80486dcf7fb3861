"""What a viewer and a reviewer can reach: every operation, endpoint, page event and file.

The lists are read off the running app. Operations are asked with no arguments and with plausible
ones, made from their types and from what is in the store (`Served.names`); page events with what
the page would send once its tabs are filled. Long work is put into its lane and never begun.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import httpx
import pytest
from pydantic import ValidationError

from distill_studio.core.actor import Role
from distill_studio.services import operations
from distill_studio.services.operations import Operation
from distill_studio.services.workspace import STORE_FILE
from tests.fake_hub_login import SPACE_HOST, Person
from tests.space import Visitor
from tests.web.test_accounts import declared_role, smallest
from tests.web.test_every_route import ask
from tests.web.test_locked import all_routes
from tests.web.whole_app import EXPORT_URL, Served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ANSWER_S = 240.0  # the first to need torch waits for it
EVENT_S = 5.0  # a stream that says no more than that it is alive is cut then
# What a viewer may add: a download is a file made of what they may read, under a new name.
DOWNLOADS = "workspaces/main/exports/"
PACKAGES = f"{DOWNLOADS}first-sft-"  # of a run: named after it, and made again when asked for
# Filters measure rows that nobody has measured yet when a preview needs it: the same numbers
# whoever looks, made of the texts alone.
FOLLOWS_FROM_TEXTS = {"main.filter_scores", "main.measured_pairs"}
# What a reviewer's work is kept in: not the teachers, servers, rules of labelling, guidelines and
# reasons to reject, which are an owner's.
REVIEWERS_TABLES = {
    f"main.{table}"
    for table in (
        # what they say of rows, and hold while they look
        "decisions", "votes", "preferences", "pairs", "leases", "comparison_votes", "near_verdicts",
        "leak_verdicts",
        # what they have Curate do, and undo
        "curation_actions", "curation_changes", "curation_pipelines", "pair_texts",
        # what they bring in
        "seeds", "reference_sets", "reference_items", "leak_packs", "leak_items",
        # what they start
        "jobs", "runs", "run_notes", "snapshots", "suite_trials", "comparison_tasks",
        "recipe_texts",
    )
}  # fmt: skip
REVIEWERS_PLACES = (
    DOWNLOADS, "uploads/", "workspaces/main/snapshots/second/", "workspaces/main/runs/sft-first-",
    "demo.",  # they may start the demo, which has a workspace of its own
)  # fmt: skip
# A way out, streams that do not end, and what other tests here ask with the right body.
ELSEWHERE = {"/logout", "/login", "/join", "/gradio_api/queue/data"}
DEPENDS = {"prefer_ties"}  # for an owner, and for reviewers whom an owner named


class Caller:
    """Somebody who is signed in: operations, endpoints and page events, as their browser asks."""

    def __init__(self, served: Served, visitor: Visitor) -> None:
        self.served, self.visitor = served, visitor
        self.session = f"page{time.monotonic_ns()}"
        self.values: dict[int, Any] = {}  # of the page's components, by id

    def operation(self, name: str, arguments: dict[str, Any]) -> httpx.Response:
        """Over the API."""
        return self._answer(f"/api/main/{name}", arguments)

    def endpoint(self, name: str, arguments: dict[str, Any]) -> httpx.Response:
        """Gradio's named one."""
        body = {"data": ["main", arguments], "session_hash": self.session}
        return self._answer(f"/gradio_api/run/{name}", body)

    def _answer(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            return self.visitor.request("POST", path, json=body, timeout=ANSWER_S)
        except httpx.TimeoutException:
            pytest.fail(f"{path} did not answer {body}")

    def open_page(self) -> None:
        """Take the page's components, and fill every tab as opening it does."""
        config = self.visitor.request("GET", "/config").json()
        for part in config["components"]:
            value = part["props"].get("value")
            self.values[part["id"]] = "" if value is None and part["type"] == "textbox" else value
        chooser = next(
            c for c in config["components"] if c["props"].get("elem_id") == "ds-workspace"
        )
        assert self.values[chooser["id"]] == "main"
        for event in page_events(self.served):
            shown = [part for part, how in event.targets if how == "select"]
            if any(isinstance(self.served.page.blocks[part], gr.Tab) for part in shown):
                said = self.event(event)
                assert not crash(said), f"{event.api_name}: {said}"
                data = (said.get("output") or said).get("data") or []
                for part, value in zip(event.outputs, data, strict=False):
                    is_update = isinstance(value, dict) and value.get("__type__") == "update"
                    shown = value.get("value", self.values.get(part._id)) if is_update else value
                    self.values[part._id] = shown

    def event(self, event: Any, **other: Any) -> dict[str, Any]:
        """One page event with the values of its inputs; what came of it.

        Events outside of the queue go straight to the server, as the page has them do.
        """
        data = [other.get(type(part).__name__, self.values.get(part._id)) for part in event.inputs]
        asked = {"data": data, "fn_index": event._id, "session_hash": self.session}
        asked |= {"trigger_id": event.targets[0][0] if event.targets else None}
        asked |= {"event_data": {"index": 0, "value": "x", "selected": True}}
        if not event.queue:
            try:
                said = self.visitor.request(
                    "POST", "/gradio_api/run/predict", json=asked, timeout=EVENT_S
                )
            except httpx.TimeoutException:
                return {"msg": "cut"}
            assert said.status_code in {200, 422, 500}, said.text
            return {"success": said.status_code == 200} | said.json()
        joined = self.visitor.request("POST", "/gradio_api/queue/join", json=asked)
        assert joined.status_code == 200, joined.text
        return self._end_of(joined.json()["event_id"])

    def _end_of(self, event_id: str) -> dict[str, Any]:
        """Read the stream of the page's session until this event ended, or its time is over."""
        until = time.monotonic() + EVENT_S
        headers = {"host": SPACE_HOST, "x-forwarded-proto": "https"}
        headers["cookie"] = "; ".join(f"{n}={v}" for n, v in self.visitor.cookies.items())
        with (
            contextlib.suppress(httpx.TimeoutException),
            httpx.stream(
                "GET", f"{self.served.url}/gradio_api/queue/data", headers=headers, timeout=EVENT_S,
                params={"session_hash": self.session}, trust_env=False,
            ) as stream,
        ):  # fmt: skip
            assert stream.status_code == 200
            for line in stream.iter_lines():
                said = json.loads(line.removeprefix("data: ")) if line else {}
                if said.get("event_id") == event_id and said["msg"] == "process_completed":
                    return said
                if time.monotonic() > until:
                    break
        return {"msg": "cut"}


@pytest.fixture(autouse=True)
def _nothing_is_begun(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served.studio.lanes, "submit", lambda *_: None)


@pytest.fixture
def viewer(served: Served) -> Iterator[Caller]:
    yield from _signed_in(served, "vic")


@pytest.fixture
def reviewer(served: Served) -> Iterator[Caller]:
    yield from _signed_in(served, "rea")


def _signed_in(served: Served, name: str) -> Iterator[Caller]:
    visitor = Visitor(served.url)
    assert visitor.sign_in(served.hub, Person(name)).status_code == 303
    yield Caller(served, visitor)
    visitor.close()


def test_a_viewer_changes_nothing_by_operations_and_endpoints(served: Served, viewer: Caller):
    before = served.state()
    refused = _ask_all(served, viewer)
    assert refused == {n for n in operations.operations() if declared_role(n) > Role.VIEWER}
    _only_downloads(before, served.state())


def test_a_viewer_changes_nothing_by_events_of_the_page(served: Served, viewer: Caller):
    before = served.state()
    viewer.open_page()
    _press_all(served, viewer, served.names["sent"])
    _only_downloads(before, served.state())


def test_a_viewer_sends_no_files_and_sees_those_that_are_for_download(
    served: Served, viewer: Caller
):
    before = served.state()
    for path in ("/gradio_api/upload", "/gradio_api/process_recording", "/api/uploads"):
        sent = viewer.visitor.request("POST", path, files={"files": ("a.jsonl", b"{}")})
        assert sent.status_code in {403, 404}, f"{path}: {sent.text}"
    _read_files(served, viewer)
    _ask_routes(served, viewer)
    assert served.state() == before


def test_a_reviewer_changes_what_labelling_and_its_stages_keep(served: Served, reviewer: Caller):
    before, said = served.state(), _said_by_owner(served)
    refused = _ask_all(served, reviewer)
    owners = {n for n in operations.operations() if declared_role(n) > Role.REVIEWER}
    assert owners <= refused
    assert refused - owners <= DEPENDS
    reviewer.open_page()
    _press_all(served, reviewer)
    _read_files(served, reviewer)
    _ask_routes(served, reviewer)
    after = served.state()
    _only_a_reviewers(before, after)
    assert {"main.decisions", "main.jobs"} <= changed(before, after)
    assert _said_by_owner(served) == said


# -- what is asked ---------------------------------------------------------------------------------


def _ask_all(served: Served, caller: Caller) -> set[str]:
    """Every operation, over the API and as an endpoint; the names of those that were refused."""
    refused, crashed = set(), []
    for operation in operations.operations().values():
        arguments = plausible(operation, served.names)
        for given in ({}, arguments) if arguments else ({},):
            said = caller.operation(operation.name, given)
            if said.status_code == 500:
                crashed.append(f"{operation.name} {given}: {said.text}")
        same = caller.endpoint(operation.name, arguments).json()
        if crash(same):
            crashed.append(f"{operation.name} as an endpoint: {same}")
        if said.status_code == 403 and said.json()["error"]["code"] == "not_allowed":
            refused.add(operation.name)
            assert same.get("error"), operation.name
    assert crashed == []
    return refused


def _press_all(served: Served, caller: Caller, *known: str) -> None:
    """Every event of the page; those that take a file, with files of the server as well.

    Args:
        served: The app.
        caller: Who asks.
        known: Paths of files that others sent, which this person may not use either.
    """
    hidden = [served.workspace.folder / STORE_FILE, served.studio.home / "people.sqlite"]
    crashed = []
    for event in page_events(served):
        said = caller.event(event)
        if crash(said):
            crashed.append(f"{event.api_name} of {event.targets}: {said}")
        for part in {type(part).__name__ for part in event.inputs} & {"File", "UploadButton"}:
            for path in [*hidden, *known]:
                sent = {"path": str(path), "meta": {"_type": "gradio.FileData"}}
                for given in (sent, [sent]):
                    said = caller.event(event, **{part: given})
                    assert said.get("success") is False, f"{event.api_name}: {said}"
    assert crashed == []


def _read_files(served: Served, caller: Caller) -> None:
    """Exports are for everybody; what was uploaded, for whom knows the hash of what is in it."""
    assert caller.visitor.request("GET", EXPORT_URL).text == '{"a": 1}\n'
    for url in served.files:
        if url != EXPORT_URL and "sent.jsonl" not in url:
            said = caller.visitor.request("GET", url)
            assert said.status_code in {403, 404}, f"{url}: {said.status_code}"


def _ask_routes(served: Served, caller: Caller) -> None:
    """Every route by the methods that it has, but for those that are asked elsewhere."""
    for path, route in all_routes(served.app.routes):
        for method in sorted(getattr(route, "methods", None) or ()):
            if path not in ELSEWHERE:
                status, _ = ask(caller.visitor, method, path, content=b"{}")
                assert status < 500, f"{method} {path}: {status}"


def page_events(served: Served) -> list[Any]:
    """What the page may ask the server for, besides the operations' endpoints."""
    named = operations.operations()
    return [e for e in served.page.fns.values() if e.fn is not None and e.api_name not in named]


def crash(said: dict[str, Any]) -> bool:
    """True for an error that the app did not mean to tell."""
    told = said.get("output") if "msg" in said else said
    if not isinstance(told, dict) or not told.get("error"):
        return False
    return "Something unexpected" in told["error"] or "title" not in told


def plausible(operation: Operation, names: dict[str, Any]) -> dict[str, Any]:
    """Arguments that the schema lets through: what it requires, and what is known by name."""
    own = (names["of"].get(which, {}) for which in (operation.word, operation.name))
    known = names | {name: value for found in own for name, value in found.items()}
    made = smallest(operation.arguments.model_json_schema())
    for name in operation.arguments.model_fields.keys() & known.keys():
        made = min(made | {name: known[name]}, made, key=lambda given: _wrong(operation, given))
    for field, inner in list(made.items()):  # a snapshot's name in a TrainSpec, say
        for name in inner.keys() & known.keys() if isinstance(inner, dict) else ():
            tried = made | {field: made[field] | {name: known[name]}}
            made = min(tried, made, key=lambda given: _wrong(operation, given))
    operation.arguments.model_validate(made)
    return made


def _wrong(operation: Operation, arguments: dict[str, Any]) -> int:
    try:
        operation.arguments.model_validate(arguments)
    except ValidationError as err:
        return err.error_count()
    return 0


# -- what may be different then --------------------------------------------------------------------


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """What is new, gone or different."""
    return {name for name in before | after if before.get(name) != after.get(name)}


def _only_downloads(before: dict[str, str], after: dict[str, str]) -> None:
    """What a viewer may leave behind: new files for download, and what follows from texts alone."""
    for name in changed(before, after) - FOLLOWS_FROM_TEXTS:
        assert name.startswith(DOWNLOADS), name
        assert name not in before or name.startswith(PACKAGES), name
        assert name in after, name


def _only_a_reviewers(before: dict[str, str], after: dict[str, str]) -> None:
    """Their tables, and new files; nothing that was there is gone but what they may delete."""
    for name in changed(before, after) - REVIEWERS_TABLES - FOLLOWS_FROM_TEXTS:
        assert name.startswith(REVIEWERS_PLACES), name
        assert name not in before or name.startswith(PACKAGES), name


def _said_by_owner(served: Served) -> list[Any]:
    found = served.workspace.db.rows(
        "SELECT * FROM decisions WHERE user_name = 'owner' ORDER BY id"
    )
    assert found
    return found
