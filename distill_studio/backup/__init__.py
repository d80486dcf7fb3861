"""Where backups lie and what they are made of; `services/backups.py` does the work.

A backup is a folder, or a private dataset repository on the Hub, with

    lease.json                                      which app writes here, and until when
    parts/<workspace>/<epoch>-<number>-<sha256>.parquet   what people said, append-only
    whole/<epoch>-<number>-<sha256>.json            a whole copy: every file with its hash
    blobs/<sha256>                                  the files of whole copies, each once

Every name but the lease's says what the content must be, so a torn or changed file is noticed.
"""

from distill_studio.backup.address import place_of
from distill_studio.backup.place import BackupError, LeaseLost, Place

__all__ = ["BackupError", "LeaseLost", "Place", "place_of"]
