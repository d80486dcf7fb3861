"""A form's values outlive the page: kept by the browser, for each workspace. See `FormMemory`.

Only what a person enters is kept (`.input` events), and only once the form has settled on the
workspace in view, so that a page that is still filling cannot overwrite it. What is read back may
be old or odd: a value that does not fit its field becomes the default.
"""

import json
from collections.abc import Sequence
from typing import Any

import gradio as gr

from distill_studio.ui.events import QUIET

# BrowserState encrypts with it; it only has to stay the same. Forms with keys are not kept at all.
_SECRET = "distill-studio"
_POOLS = "pools"  # values that belong to the choice of another field, by that choice
_SETTLED = (
    """async (name) => { await new Promise((done) => setTimeout(done, 300)); return name; }"""
)
_KEEP = """(kept, settledFor, workspace, ...values) => {
  if (settledFor !== workspace) return kept;
  const names = %s, pooledBy = %s, old = (kept || {})[workspace] || {};
  const own = {pools: old.pools || {}};
  names.forEach((name, n) => { own[name] = values[n]; });
  if (pooledBy) own.pools = {...own.pools, [own[pooledBy]]: values.slice(names.length)};
  return {...(kept || {}), [workspace]: own};
}"""


class FormMemory:
    """The memory of one form.

    Pass `state` among the inputs of a tab's `show`, ask `recalled`, fill the form with what it
    returns, and output the workspace's name to `shown_for`.

    Args:
        word: Of the tab; names the entry in the browser.
        fields: Component by name, in the order of the values.
        pool: Components whose values belong to the choice of the field `pooled_by`.
        pooled_by: A name in `fields`.
    """

    def __init__(
        self,
        word: str,
        fields: dict[str, Any],
        pool: Sequence[Any] = (),
        pooled_by: str = "",
    ) -> None:
        self._fields = fields
        self._defaults = {name: field.value for name, field in fields.items()}
        self.kept = gr.BrowserState({}, storage_key=f"ds/form/{word}", secret=_SECRET)
        # a State's value is not in the browser
        self.shown_for = gr.Textbox("", visible="hidden")
        self._settled_for = gr.Textbox("", visible="hidden")
        self._keep = _KEEP % (json.dumps(list(fields)), json.dumps(pooled_by))
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
        """Keep what is entered from now on."""
        shown, settled = self.shown_for, self._settled_for
        shown.change(None, shown, settled, js=_SETTLED, **QUIET)
        events = [field.input for field in self._all]
        # a text box tells of its input before its value has changed
        events += [field.change for field in self._all if isinstance(field, gr.Textbox)]
        given = [self.kept, self._settled_for, workspace, *self._all]
        gr.on(events, None, given, self.kept, js=self._keep, trigger_mode="multiple", **QUIET)

    def keep_after(self, event: Any, workspace: Any) -> None:  # noqa: ANN401  (as of gr.on)
        """Keep the form as well when the app has changed it on a person's behalf."""
        given = [self.kept, self._settled_for, workspace, *self._all]
        event.success(None, given, self.kept, js=self._keep, **QUIET)

    def recalled(self, workspace: str, kept: Any, shown_for: str) -> dict[str, Any] | None:  # noqa: ANN401
        """The values to fill in, by name; None where the form shows this workspace's already."""
        if shown_for == workspace:
            return None
        own = _own(kept, workspace)
        return {
            name: own[name] if name in own and fits(field, own[name]) else self._defaults[name]
            for name, field in self._fields.items()
        }


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
