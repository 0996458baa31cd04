"""Corpora: the files that excerpts and coded data are read from, and the files that results are written to.

- `inputs`: files and folders to a stream of excerpts; `tables` and `transcripts` do the reading, on top of
  `textfiles` (encodings) and `rows` (cells to excerpts).
- `coded`: coded data, for training and evaluation.
- `scored`, `composed`: results read again, and put together to documents; `sheets`: small tables for people.
- `refi`, `taguette`: projects of other tools.
- `writers`: results; `journal`: the results of a run that is under way.
"""
