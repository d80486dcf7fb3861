"""A form's values outlive the page: kept by the browser, for each workspace. See `FormMemory`.

Only what a person enters is kept, and only once the form has settled on the workspace in view, so
that a page that is still filling cannot overwrite it. What is read back may be old or odd: a value
that does not fit its field becomes the default. A form fills in the browser, not from the server's
answer, so that what a person enters while that answer is on its way stays as it is.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from distill_studio.core.ids import new_id
from distill_studio.ui.events import QUIET

# BrowserState encrypts with it; it only has to stay the same. Forms with keys are not kept at all.
_SECRET = "distill-studio"
_POOLS = "pools"  # values that belong to the choice of another field, by that choice
_SETTLED = (
    """async (name) => { await new Promise((done) => setTimeout(done, 300)); return name; }"""
)
_SAME = """(a, b) => JSON.stringify(a ?? '') === JSON.stringify(b ?? '')"""
# Outputs that stay undefined are left alone by Gradio.
_FILL = """(fill, workspace, shownFor, ...values) => {
  const names = %(names)s, same = %(same)s, nothing = [];
  if (!fill) return nothing;
  const {id, of, from, base, wanted} = JSON.parse(fill);
  if (of !== workspace || from !== shownFor) return nothing;
  const isMine = (name, n) => !(name in wanted) || !same(values[n], base[name]);
  return [of, id, ...names.map((name, n) => isMine(name, n) || same(values[n], wanted[name])
    ? undefined : wanted[name])];
}"""
_KEEP = """(kept, settledFor, workspace, poolOf, fill, ...values) => {
  const names = %(names)s, same = %(same)s, onlyIfChanged = %(only_if_changed)s;
  if (!fill || settledFor !== workspace) return undefined;
  const {wanted} = JSON.parse(fill);
  if (onlyIfChanged && names.every((name, n) => !(name in wanted) || same(values[n], wanted[name])))
    return undefined;
  const own = {pools: ((kept || {})[workspace] || {}).pools || {}};
  names.forEach((name, n) => { own[name] = values[n]; });
  if (poolOf) own.pools = {...own.pools, [poolOf]: values.slice(names.length)};
  return {...(kept || {}), [workspace]: own};
}"""


class FormMemory:
    """The memory of one form.

    Pass `state` among the inputs of a tab's `show`, make what `recalled` returns fit the choices
    there are now, and output `filling(...)` to `fill`, choices without values to the fields
    themselves. The browser then fills in what nobody has changed meanwhile; `filled` changes after
    each filling, `shown_for` where the form shows another workspace than before.

    Args:
        word: Of the tab; names the entry in the browser.
        fields: Component by name, in the order of the values.
        pool: Components whose values belong to a choice of another field. Whoever fills them
            outputs that choice to `pool_of`.
    """

    def __init__(self, word: str, fields: dict[str, Any], pool: Sequence[Any] = ()) -> None:
        self._fields = fields
        self._defaults = {name: field.value for name, field in fields.items()}
        self.kept = gr.BrowserState({}, storage_key=f"ds/form/{word}", secret=_SECRET)
        # a State's value is not in the browser
        self.fill, self.filled, self.shown_for, self.pool_of, self._settled_for = (
            gr.Textbox("", visible="hidden", elem_id=f"{word}-form-{what}")
            for what in ("fill", "filled", "shown-for", "pool-of", "settled-for")
        )
        self._all = [*fields.values(), *pool]

    @property
    def names(self) -> list[str]:
        """Of the fields, in order."""
        return list(self._fields)

    @property
    def state(self) -> list[Any]:
        """Inputs for `recalled`."""
        return [self.kept, self.shown_for]

    def wire(self, workspace: Any) -> None:  # noqa: ANN401  (the component)
        """Fill the form, and keep what is entered from now on.

        What else depends on the workspace shown (`shown_for.change`) is to be wired before.
        """
        filled = [self.shown_for, self.filled, *self._fields.values()]
        given = [self.fill, workspace, self.shown_for, *self._fields.values()]
        once: dict[str, Any] = {"trigger_mode": "multiple", **QUIET}
        self.fill.change(None, given, filled, js=self._js(_FILL), **once)
        self.shown_for.change(None, self.shown_for, self._settled_for, js=_SETTLED, **QUIET)
        # entered while the form was filling
        late = self._js(_KEEP, only_if_changed="true")
        self._settled_for.change(None, self._given(workspace), self.kept, js=late, **once)
        events = [field.input for field in self._all]
        # a text box tells of its input before its value has changed
        events += [field.change for field in self._all if isinstance(field, gr.Textbox)]
        gr.on(events, None, self._given(workspace), self.kept, js=self._js(_KEEP), **once)

    def keep_after(self, event: Any, workspace: Any) -> None:  # noqa: ANN401  (as of gr.on)
        """Keep the form as well when the app has changed it on a person's behalf."""
        event.success(None, self._given(workspace), self.kept, js=self._js(_KEEP), **QUIET)

    def _given(self, workspace: Any) -> list[Any]:  # noqa: ANN401
        return [self.kept, self._settled_for, workspace, self.pool_of, self.fill, *self._all]

    def _js(self, code: str, only_if_changed: str = "false") -> str:
        names = json.dumps(list(self._fields))
        return code % {"names": names, "same": _SAME, "only_if_changed": only_if_changed}

    def recalled(self, workspace: str, kept: Any, shown_for: str) -> dict[str, Any] | None:  # noqa: ANN401
        """The values to fill in, by name; None where the form shows this workspace's already."""
        if shown_for == workspace:
            return None
        own = _own(kept, workspace)
        return {
            name: own[name] if name in own and fits(field, own[name]) else self._defaults[name]
            for name, field in self._fields.items()
        }

    def filling(
        self, workspace: str, shown_for: str, sent: Mapping[str, Any], wanted: Mapping[str, Any]
    ) -> str:
        """The value of `fill`.

        Args:
            workspace: The values are of.
            shown_for: What the page sent of `shown_for`.
            sent: The fields' values that the page sent.
            wanted: The values to show, of all fields or of some.
        """
        base = sent if shown_for else self._defaults  # of a new page, what differs was entered
        value = {"id": new_id(), "of": workspace, "from": shown_for}
        return json.dumps({**value, "base": dict(base), "wanted": dict(wanted)})


def pooled(kept: Any, workspace: str, choice: str) -> list[Any]:  # noqa: ANN401
    """What was entered into the pool for this choice; empty where nothing was."""
    pools = _own(kept, workspace).get(_POOLS)
    found = pools.get(choice) if isinstance(pools, dict) else None
    return found if isinstance(found, list) else []


def fits(field: Any, value: Any) -> bool:  # noqa: ANN401
    """Whether a component can show a value that was kept by an earlier page."""
    if isinstance(field, gr.Checkbox):
        return isinstance(value, bool)
    if isinstance(field, gr.Slider | gr.Number):
        return _is_within(value, field.minimum, field.maximum)
    if isinstance(field, gr.CheckboxGroup):
        return isinstance(value, list) and all(isinstance(each, str) for each in value)
    if isinstance(field, gr.Radio):
        known = [choice for _, choice in field.choices]
        return isinstance(value, str) and (not known or value in known)
    return isinstance(value, str)


def _is_within(value: Any, low: float | None, high: float | None) -> bool:  # noqa: ANN401
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return (low is None or value >= low) and (high is None or value <= high)


def _own(kept: Any, workspace: str) -> dict[str, Any]:  # noqa: ANN401
    own = kept.get(workspace) if isinstance(kept, dict) else None
    return own if isinstance(own, dict) else {}
