"""What turns image files of many layouts into records, one layout a module.

A `Reader` knows its labels without reading an image, and reads one image at a time. `detect.py` finds out the layout.
"""
