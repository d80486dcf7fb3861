"""What is kept: one DuckDB file per workspace. All SQL of the package lives in this folder.

Start from `database.Database`; each table group has a module of functions that take one first.
"""
