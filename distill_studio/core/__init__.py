"""What everyone knows: records, errors, settings, protocols. Imports no other part."""
