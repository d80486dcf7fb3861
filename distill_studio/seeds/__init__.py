"""Stage 1: where prompts come from.

`detect.detect_format` names the importer of a file; `IMPORTERS[...]` streams its rows;
`columns.guess_mapping` says which column is what; `rows.to_drafts` turns a row into prompts and
answers. Texts are cut into passages (`documents.DOCUMENTS`), long conversations into several
(`splitting`). Nothing here raises for one bad row: it becomes a problem with its line and reason.
"""

from distill_studio.seeds.csv_file import read_csv
from distill_studio.seeds.json_file import read_json
from distill_studio.seeds.jsonl_file import read_jsonl
from distill_studio.seeds.parquet_file import read_parquet
from distill_studio.seeds.source import Importer

IMPORTERS: dict[str, Importer] = {
    "jsonl": read_jsonl,
    "json": read_json,
    "csv": read_csv,
    "parquet": read_parquet,
}
