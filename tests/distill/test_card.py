"""The card of a model: what it comes from, how it did, and what the Hub reads."""

import json
from pathlib import Path
from xml.etree import ElementTree

from huggingface_hub import ModelCard

from distill_studio.core.records import Run
from distill_studio.distill.card import ModelFacts, Training, card_files, model_card
from distill_studio.distill.curve import Curve, Point
from distill_studio.distill.model_names import short_id
from distill_studio.distill.package import public_adapter_settings, public_settings
from tests.fake_hub.cards import problems_of

RUN = Run(
    name="first-sft",
    method="logit",
    snapshot_id="s",
    config={
        "student": {"base_id": "/home/ann/models/mine", "keep_layers": 24},
        "data": {"name": "first", "content_hash": "0123456789abcdef"},
        "teacher": {"id": "smollm2-135m-instruct"},
        "learning_rate": 0.0001,
        "epochs": 2.0,
        "lora": {"r": 16, "alpha": 32},
    },
    metrics={
        "steps": 30,
        "loss_before": 3.5,
        "loss_after": 2.25,
        "kl_before": 1.0,
        "kl_after": 0.5,
    },
)
FACTS = ModelFacts(
    base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
    repo="ann/first-sft",
    datasets=("ann/main-first",),
    licence="apache-2.0",
    notices=("Built with Llama",),
    trainings=(
        Training(run="first-sft", method="logit", base="/home/ann/models/mine", snapshot="first",
                 content_hash="0123456789abcdef", rows=90),
    ),
    teachers={"Big <b>": {"rows": 90, "models": ["org/big"], "licence_note": "MIT"}},
    sources={"mails.csv": 90},
    recipes={"answer": 90},
    benchmarks=({"name": "GSM8K", "items": 1319, "leaked": 0, "unchecked": 2},),
    measured={"Suite exam (number, n = 40)": "0.500 (0.400 to 0.600)"},
)  # fmt: skip


def test_the_front_matter_is_one_that_the_hub_takes() -> None:
    whole = RUN.config | {"student": {"base_id": "/home/ann/models/mine", "keep_layers": None}}
    for kind, library, relation, config in (
        ("merged", "transformers", "finetune", RUN.config),
        ("adapter", "peft", "adapter", whole),  # of a pruned base it would name none
    ):
        card = model_card(RUN.model_copy(update={"config": config}), kind, FACTS)
        assert problems_of(card, "model") == ([], [])
        data = ModelCard(card).data.to_dict()
        assert data["library_name"] == library
        assert data["base_model_relation"] == relation
        assert data["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
        assert data["license"] == "apache-2.0"
        assert data["datasets"] == ["ann/main-first"]
        assert "license_name" not in data


def test_everything_that_is_known_is_written() -> None:
    card = model_card(RUN, "merged", FACTS)
    for said in (
        "**Built with Llama**",
        'from_pretrained("ann/first-sft")',
        "| Base | mine |",
        "| Kept of the base | 24 layers |",
        "| Teacher | smollm2-135m-instruct |",
        "| Held-out loss after | 2.2500 |",
        "| Held-out KL to the teacher after | 0.5000 |",
        "| first-sft | LOGIT | mine | first (0123456789ab) | 90 |",
        "| Big \\<b\\> | org/big | 90 | MIT |",
        "| GSM8K | 1,319 | 0 | 2 |",
        "| Weights | LoRA, rank 16, alpha 32 |",
        "| Suite exam (number, n = 40) | 0.500 (0.400 to 0.600) |",
    ):
        assert said in card, said
    assert "/home/ann" not in card


def test_curves_stand_beside_the_card_and_their_figures_in_it() -> None:
    curve = Curve(
        total=40,
        train=[Point(step=n, value=3.0 - n / 40) for n in range(1, 41)],
        validation=[Point(step=n, value=3.5 - n / 40) for n in range(0, 41, 2)],
        held_kl=[Point(step=n, value=1.0 - n / 80) for n in range(0, 41, 2)],
    )
    facts = FACTS.model_copy(update={"curve": curve})
    card = model_card(RUN, "merged", facts)
    assert "![Training and held-out figures by update](curves.svg)" in card
    assert "| update | Loss, training | Loss, held out | KL to the teacher, times T²" in card
    lines = [line for line in card.splitlines() if line.startswith(("| 0 |", "| 40 |"))]
    assert lines == ["| 0 |  | 3.5000 | 1.0000 |", "| 40 | 2.0375 | 2.5000 | 0.5000 |"]
    files = card_files(RUN, facts)
    assert list(files) == ["curves.svg"]
    tree = ElementTree.fromstring(files["curves.svg"])
    assert tree.tag.endswith("svg")
    drawn = files["curves.svg"].decode()
    assert drawn.count("<circle") == 2 * 21
    for outside in ("href", "url(", "<script", "var(", "@import"):
        assert outside not in drawn
    assert card_files(RUN, FACTS) == {}
    assert "curves.svg" not in model_card(RUN, "merged", FACTS)


def test_a_name_cannot_act_in_the_picture() -> None:
    evil = RUN.model_copy(update={"name": "<script>alert(1)</script>"})
    curve = Curve(validation=[Point(step=0, value=1.0)])
    drawn = card_files(evil, ModelFacts(curve=curve))["curves.svg"].decode()
    assert "<script" not in drawn
    assert "&lt;script" in drawn


def test_limits_name_the_lost_breadth_and_notes_stand_where_wanted() -> None:
    facts = FACTS.model_copy(update={"notes": ("Good at <b>sums</b>.",)})
    card = model_card(RUN, "merged", facts)
    limits = card.partition("## Limits and terms")[2]
    for said in (
        "errors and biases",
        "90 rows",
        "loses breadth",
        "other languages",
        "terms of the",
    ):
        assert said in limits, said
    assert "## Notes\n\n- Good at \\<b\\>sums\\</b\\>." in card
    assert "## Notes" not in model_card(RUN, "merged", FACTS)


def test_the_card_of_a_stored_signal_says_what_its_kl_is() -> None:
    config = RUN.config | {"signal": "cache", "kept": "top_k", "top_k": 16}
    run = RUN.model_copy(update={"config": config, "metrics": RUN.metrics | {"covered": 0.971}})
    card = model_card(run, "merged", FACTS)
    assert "| Held-out KL to the teacher, lower bound after | 0.5000 |" in card
    assert "| Of the teacher's probability in the kept ids | 97.1 % |" in card


def test_what_is_not_known_is_said_to_be_so() -> None:
    card = model_card(RUN, "merged")
    assert problems_of(card, "model") == ([], [])
    assert ModelCard(card).data.to_dict()["license_name"] == "terms-of-base-and-teachers"
    assert "Not measured on any suite or benchmark." in card
    assert "base_model" not in ModelCard(card).data.to_dict()


def test_folders_of_this_machine_are_not_published(tmp_path: Path) -> None:
    settings = {
        "student": {"base_folder": "/home/ann/.distill_studio/cache/models/small", "base_id": "x"},
        "more_teachers": [{"folder": "~/models/big", "id": "org/big"}],
        "epochs": 1.0,
    }
    (tmp_path / "run.json").write_text(json.dumps(settings))
    assert json.loads(public_settings(tmp_path)) == {
        "student": {"base_folder": "small", "base_id": "x"},
        "more_teachers": [{"folder": "big", "id": "org/big"}],
        "epochs": 1.0,
    }
    adapter = tmp_path / "adapter_config.json"
    adapter.write_text(json.dumps({"base_model_name_or_path": "/home/ann/small", "r": 8}))
    named = json.loads(public_adapter_settings(adapter, "org/small"))
    assert named == {"base_model_name_or_path": "org/small", "r": 8}
    assert json.loads(public_adapter_settings(adapter, ""))["base_model_name_or_path"] == "small"
    assert short_id("run:first") == "run:first"
    assert short_id(r"C:\\models\\small") == "small"
