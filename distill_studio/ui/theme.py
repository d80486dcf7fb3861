"""The look: a Gradio theme of system fonts, and the project's CSS from `assets/`."""

from pathlib import Path

import gradio as gr

ASSETS = Path(__file__).parents[2] / "assets"


def theme() -> gr.Theme:
    """Indigo on slate, no web fonts."""
    return gr.themes.Base(
        primary_hue="indigo",
        neutral_hue="slate",
        radius_size="md",
        font=["system-ui", "Segoe UI", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Consolas", "monospace"],
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_shadow="none",
        block_border_width="1px",
        block_label_text_weight="500",
        button_border_width="1px",
        button_large_text_weight="550",
        button_primary_border_color="*primary_600",
        button_primary_border_color_dark="*primary_500",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="white",
        button_secondary_background_fill="white",
        button_secondary_background_fill_dark="*neutral_800",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        link_text_color_dark="#60a5fa",
        link_text_color_visited_dark="#60a5fa",
        link_text_color_active_dark="#60a5fa",
        link_text_color_hover_dark="#93c5fd",
        link_text_color_visited="*secondary_600",
        input_placeholder_color="#5d6c82",  # between neutral 500 and 600: 4.5 on the box's fill
        input_placeholder_color_dark="#a9b6c9",
        checkbox_border_color="*neutral_400",
        checkbox_border_color_dark="*neutral_500",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
    )


def css() -> str:
    """All of `assets/*.css`, `theme.css` first."""
    files = sorted(ASSETS.glob("*.css"), key=lambda p: (p.name != "theme.css", p.name))
    return "\n".join(path.read_text(encoding="utf-8") for path in files)
