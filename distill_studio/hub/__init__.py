"""The Hugging Face Hub: what goes there, under which terms, and how it gets there.

`licences` knows families of models and what their terms ask; `checks` says what to look at before
something is published; `repository` pushes; `failures` puts what went wrong into words.
"""
