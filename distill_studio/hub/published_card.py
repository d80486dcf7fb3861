"""A snapshot's card as it goes to the Hub: with the licence chosen, and what was trained on it."""

from collections.abc import Sequence

from huggingface_hub import DatasetCard

from distill_studio.core.cards import card_table


def published_card(card: str, licence: str, models: Sequence[tuple[str, str, str]] = ()) -> str:
    """The card with another `license` and a list of models.

    Args:
        card: README.md of the snapshot.
        licence: Identifier of the Hub's list; empty or "other": as the card has it.
        models: Name, method and result of each model that learnt from the snapshot.
    """
    parsed = DatasetCard(card)
    if licence and licence != "other":
        parsed.data["license"] = licence
        for name in ("license_name", "license_link"):
            parsed.data.pop(name, None)
    text = str(parsed).rstrip() + "\n"
    if models:
        table = card_table(("model", "method", "held-out loss"), models)
        text += f"\n## Models trained on it\n\n{table}"
    return text
