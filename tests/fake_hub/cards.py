"""What the Hub says of a card's front matter: the rules that matter to the cards made here.

Written after https://huggingface.co/docs/hub/datasets-cards and .../model-cards and the client's
`repocard.py` (the same separator, the same YAML). The list of licences is the documented one.
"""

import re
from typing import Any

import yaml

FRONT = re.compile(r"\A\s*---[\r\n]+(.*?)[\r\n]+---(?:[\r\n]|\Z)", re.DOTALL)
# fmt: off
LICENSES = {
    "apache-2.0", "mit", "openrail", "bigscience-openrail-m", "creativeml-openrail-m",
    "bigscience-bloom-rail-1.0", "bigcode-openrail-m", "afl-3.0", "artistic-2.0", "bsl-1.0",
    "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear", "c-uda", "cc", "cc0-1.0",
    "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
    "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cdla-sharing-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0", "wtfpl", "ecl-2.0",
    "epl-1.0", "epl-2.0", "etalab-2.0", "eupl-1.1", "eupl-1.2", "agpl-3.0", "gfdl", "gpl",
    "gpl-2.0", "gpl-3.0", "lgpl", "lgpl-2.1", "lgpl-3.0", "isc", "h-research", "intel-research",
    "lppl-1.3c", "ms-pl", "apple-ascl", "apple-amlr", "mpl-2.0", "odc-by", "odbl", "openmdw-1.0",
    "openrail++", "osl-3.0", "postgresql", "ofl-1.1", "ncsa", "unlicense", "zlib", "pddl",
    "lgpl-lr", "deepfloyd-if-license", "fair-noncommercial-research-license", "llama2", "llama3",
    "llama3.1", "llama3.2", "llama3.3", "llama4", "grok2-community", "gemma", "unknown", "other",
}
SIZES = {
    "n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B",
    "1B<n<10B", "10B<n<100B", "100B<n<1T", "n>1T",
}
# fmt: on
REPO = re.compile(r"(?:[\w.-]+/)?[\w.-]+")


def problems_of(content: str, kind: str) -> tuple[list[str], list[str]]:
    """Errors and warnings of a README.

    Args:
        content: The whole README.
        kind: "model", "dataset" or "space".
    """
    front = FRONT.match(content)
    if front is None:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        data = yaml.safe_load(front.group(1))
    except yaml.YAMLError as error:
        return [f"YAML Metadata Error: {error}"], []
    if not isinstance(data, dict):
        return ["YAML Metadata Error: the front matter is not a mapping"], []
    return list(_errors(data, kind)), []


def _errors(data: dict[str, Any], kind: str) -> list[str]:
    licences = data.get("license")
    found = [
        f'"license" must be one of the known identifiers, not {one!r}'
        for one in (licences if isinstance(licences, list) else [licences] if licences else [])
        if one not in LICENSES
    ]
    if licences == "other" and not data.get("license_name"):
        found.append('"license_name" is needed where "license" is "other"')
    for field in ("tags", "language", "task_categories", "datasets", "size_categories"):
        value = data.get(field)
        texts = value if isinstance(value, list) else [value]
        if value is not None and not all(isinstance(one, str) for one in texts):
            found.append(f'"{field}" must be a string or a list of strings')
    bases = data.get("base_model") or []
    found += [
        f'"base_model" with value {one!r} is not valid. Use a model id.'
        for one in (bases if isinstance(bases, list) else [bases])
        if not isinstance(one, str) or not REPO.fullmatch(one)
    ]
    sizes = data.get("size_categories") or []
    found += [f'"size_categories" has {one!r}' for one in sizes if one not in SIZES]
    if kind == "space" and not data.get("sdk"):
        found.append('"sdk" is required')
    return found
