"""What of this repository a Hugging Face Space is made of. Start at `files`."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Whole folders, by the kinds of files that belong there: nothing else goes up.
FOLDERS = {
    "distill_studio": {".py", ".sql", ".js", ".css", ".typed"},
    "assets": {".css", ".json", ".jsonl", ".png", ".py", ".txt", ".yaml"},
    "docs": {".md"},
}
SINGLE = ("app.py", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "requirements*.txt")


def files(root: Path = ROOT) -> dict[str, Path]:
    """Path in the Space -> the file, by name. No links, nothing hidden, no caches."""
    found = [path for pattern in SINGLE for path in root.glob(pattern)]
    for folder, kinds in FOLDERS.items():
        found += [path for path in (root / folder).rglob("*") if path.suffix in kinds]
    named = {path.relative_to(root).as_posix(): path for path in found}
    return {name: named[name] for name in sorted(named) if _belongs(root, named[name])}


def is_ours(name: str) -> bool:
    """Whether a file of a Space lies where only files of this repository do."""
    folder = name.split("/", 1)[0]
    return "/" in name and folder in FOLDERS


def _belongs(root: Path, path: Path) -> bool:
    parts = path.relative_to(root).parts
    is_hidden = any(part.startswith((".", "__pycache__")) for part in parts)
    return path.is_file() and not path.is_symlink() and not is_hidden
