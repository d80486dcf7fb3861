"""What happens: one use-case class per stage, joining stage code, store and teachers.

Start from `studio.Studio`; it opens a `workspace.Workspace`, which holds every service by its
stage word. Each public method takes the acting user first and checks the role.
"""
