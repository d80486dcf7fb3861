"""One file per tab, in the order of the flow."""

from types import ModuleType

from distill_studio.ui.tabs import (
    curate,
    distill,
    evaluate,
    export,
    freeze,
    generate,
    home,
    people,
    prefer,
    review,
    seeds,
)

TABS: dict[str, ModuleType] = {
    "home": home,
    "seeds": seeds,
    "generate": generate,
    "curate": curate,
    "review": review,
    "prefer": prefer,
    "freeze": freeze,
    "distill": distill,
    "evaluate": evaluate,
    "export": export,
    "people": people,
}
