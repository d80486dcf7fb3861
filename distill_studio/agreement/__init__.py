"""How far people agree, lean and can be trusted; which models win. Pure: numbers in, records out.

Any stage may be measured. Start from `tables.agreement_rows` (agreement of several people),
`bias` (one person), `scores.separation` (judges) and `bradley_terry.rank` (models).
"""
