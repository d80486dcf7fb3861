"""Near-duplicates: `search` finds every near pair exactly, `groups` says who stands for whom."""
