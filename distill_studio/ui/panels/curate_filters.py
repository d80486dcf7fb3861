"""The filters on the Curate tab: one fold each, made from the fields of its settings.

A fold's title says how many rows the filter takes; inside are its widgets and rows from both sides
of its line. `setting` (curate/filters/base.py) gives a field its label, limits and choices.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin

import gradio as gr
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from distill_studio.core.errors import InvalidInput
from distill_studio.curate.filters import FILTERS, AnyFilter, Filter, Group
from distill_studio.curate.reports import FiltersPreview
from distill_studio.ui.panels import curate_html as draw

_MOST_TICKS = 8  # more choices than that make a drop-down


@dataclass
class FilterForm:
    """Widgets and folds in a fixed order; from values to settings and back.

    Attributes:
        widgets: One per setting; `read` and `fill` speak their values.
        shown: What `preview` fills.
    """

    fields: list[tuple[Filter, str]] = field(default_factory=list)
    widgets: list[Any] = field(default_factory=list)
    folds: dict[str, gr.Accordion] = field(default_factory=dict)
    examples: dict[str, gr.HTML] = field(default_factory=dict)
    summary: gr.HTML | None = None

    @property
    def shown(self) -> list[Any]:
        """The summary, the titles of the folds, the rows inside them."""
        return [self.summary, *self.folds.values(), *self.examples.values()]

    def read(self, values: Sequence[Any]) -> list[AnyFilter]:
        """Settings from the widgets' values.

        Raises:
            InvalidInput: A value that the filter does not take.
        """
        given: dict[str, dict[str, Any]] = {kind: {} for kind in self.folds}
        for (filter_, name), value in zip(self.fields, values, strict=True):
            if value is not None:  # an emptied box: what the field begins with
                given[filter_.kind][name] = value
        return [_config(FILTERS[kind], values) for kind, values in given.items()]

    def fill(self, filters: Sequence[AnyFilter]) -> list[Any]:
        """Values of the widgets from settings; a filter that is missing counts as off."""
        by_kind = {config.kind: config for config in filters}
        values = []
        for filter_, name in self.fields:
            config = by_kind.get(filter_.kind) or filter_.config(is_on=False)
            value = getattr(config, name)
            values.append(list(value) if isinstance(value, tuple) else value)
        return values

    def preview(self, found: FiltersPreview) -> list[Any]:
        """Values of `shown`."""
        by_kind = {one.kind: one for one in found.filters}
        folds = [gr.Accordion(label=draw.filter_title(by_kind[kind])) for kind in self.folds]
        rows = [draw.filter_rows_html(by_kind[kind]) for kind in self.examples]
        return [draw.filters_html(found), *folds, *rows]


def build_filter_form() -> FilterForm:
    """Make the folds, group by group, and the summary beside them."""
    form = FilterForm()
    with gr.Row(equal_height=False, elem_id="curate-filters-row"):
        with gr.Column(scale=3, min_width=460, elem_classes="ds-curate-form"):
            for group in Group:
                gr.HTML(f"<h4 class='ds-curate-group'>{group.value}</h4>")
                for filter_ in FILTERS.values():
                    if filter_.group is group and _names(filter_):
                        _fold(form, filter_)
        with gr.Column(scale=2, min_width=340, elem_classes="ds-curate-side"):
            form.summary = gr.HTML(elem_id="curate-filters")
    return form


def _fold(form: FilterForm, filter_: Filter) -> None:
    """The switch, then the boxes in a row, the ticks in two columns, and the rows found."""
    kind, fields = filter_.kind, filter_.config.model_fields
    elem_id = f"curate-filter-{kind.replace('_', '-')}"
    names = [name for name in _names(filter_) if name != "is_on"]
    ticks = [name for name in names if fields[name].annotation is bool]

    def add(name: str) -> None:
        form.fields.append((filter_, name))
        form.widgets.append(_widget(kind, name, fields[name]))

    with gr.Accordion(filter_.label, open=False, elem_id=elem_id) as form.folds[kind]:
        gr.HTML(draw.about_html(filter_.about))
        add("is_on")
        if len(names) > len(ticks):
            with gr.Row():
                for name in names:
                    if name not in ticks:
                        add(name)
        if ticks:
            with gr.Column(elem_classes="ds-curate-ticks"):
                for name in ticks:
                    add(name)
        form.examples[kind] = gr.HTML(elem_id=f"{elem_id}-rows")


def _names(filter_: Filter) -> list[str]:
    """The settings that stand on the form."""
    return [
        name
        for name, info in filter_.config.model_fields.items()
        if name != "kind" and not _extra(info).get("is_hidden")
    ]


def _widget(kind: str, name: str, info: FieldInfo) -> Any:  # noqa: ANN401  (any widget)
    """The widget for a setting, chosen by its type."""
    extra = _extra(info)
    shared: dict[str, Any] = {
        "label": info.title,
        "elem_id": f"curate-{kind}-{name}".replace("_", "-"),
    }
    if info.description:
        shared["info"] = info.description
    if info.annotation is bool:
        return gr.Checkbox(info.default, container=False, **shared)
    if get_origin(info.annotation) is tuple:
        return _many(info, extra, shared)
    if get_origin(info.annotation) is Literal:
        return gr.Radio(_choices(info, extra), value=info.default, min_width=320, **shared)
    return _number(info, extra, shared)


def _many(info: FieldInfo, extra: dict[str, Any], shared: dict[str, Any]) -> Any:  # noqa: ANN401
    choices = [(label, value) for value, label in extra["choices"].items()]
    value = list(info.default)
    if len(choices) <= _MOST_TICKS:
        return gr.CheckboxGroup(choices, value=value, min_width=320, **shared)
    return gr.Dropdown(choices, value=value, multiselect=True, min_width=320, **shared)


def _number(info: FieldInfo, extra: dict[str, Any], shared: dict[str, Any]) -> Any:  # noqa: ANN401
    low, high = _bound(info, "ge"), _bound(info, "le")
    if low is not None and high is not None:
        step = extra.get("step")
        return gr.Slider(low, high, info.default, step=step, min_width=320, **shared)
    precision = 0 if info.annotation is int else None
    return gr.Number(
        info.default, minimum=low, maximum=high, precision=precision, min_width=140, **shared
    )


def _choices(info: FieldInfo, extra: dict[str, Any]) -> list[tuple[str, str]]:
    names = extra.get("choices", {})
    return [(names.get(value, value), value) for value in get_args(info.annotation)]


def _bound(info: FieldInfo, name: str) -> float | None:
    return next((getattr(m, name) for m in info.metadata if hasattr(m, name)), None)


def _extra(info: FieldInfo) -> dict[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}


def _config(filter_: Filter, values: dict[str, Any]) -> AnyFilter:
    try:
        return filter_.config.model_validate(values)
    except ValidationError as err:
        first = err.errors()[0]
        name = filter_.config.model_fields[str(first["loc"][0])].title
        raise InvalidInput(f"{filter_.label}, {name}: {first['msg']}.") from err
