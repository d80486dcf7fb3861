"""Names of embedding models: the full starter model, its fast static copy, or any other id."""

FULL = "all-minilm-l6-v2"
FULL_HUB_ID = "sentence-transformers/all-MiniLM-L6-v2"
STATIC_PREFIX = "static:"
FAST = STATIC_PREFIX + FULL
_SHORT = {"": FULL, "full": FULL, "fast": FAST, FULL_HUB_ID.lower(): FULL}


def canonical(model: str) -> str:
    """The id under which a model's vectors are kept; `full`, `fast` and '' are short for two."""
    name = model.strip()
    if name.lower().startswith(STATIC_PREFIX):
        return STATIC_PREFIX + canonical(name[len(STATIC_PREFIX) :])
    return _SHORT.get(name.lower(), FULL if name.lower() == FULL else name)


def is_static(model: str) -> bool:
    """Whether the id means a static copy that is distilled here from another model."""
    return model.startswith(STATIC_PREFIX)


def source_of(model: str) -> str:
    """The model that a static copy is distilled from; other models are their own."""
    return model.removeprefix(STATIC_PREFIX)


def label(model: str) -> str:
    """The model's name for people."""
    if is_static(model):
        return f"the static copy of {label(source_of(model))}"
    return "all-MiniLM-L6-v2" if model == FULL else model
