"""A run on another machine: what is packed here, and the program that trains there.

`package.pack` (the app) makes the files, `start.py` (there, standard library only) unpacks and
installs, `machine` (there) runs the same worker as here and pushes what it says and makes.
"""
