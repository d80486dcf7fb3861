"""Why one answer is better: what the preference bench offers on the digit keys after a vote."""

REASONS = (
    "More correct",
    "Does what was asked",
    "More complete",
    "Clearer",
    "Better form",
    "Shorter without loss",
    "Better reasoning",
    "Safer",
    "Better language",
)
