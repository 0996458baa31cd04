"""REFI-QDA: projects (.qdpx) and codebooks (.qdc), the open exchange format of NVivo, ATLAS.ti, MAXQDA, QualCoder ...

- `reader`: a project as `model.Project`, on top of `archive` (zip files that are not trusted), `xmldoc` (XML that keeps
  its bytes) and `positions` (what the positions of selections mean).
- `writer`: a new project, or one that exists with something added to it.
- `codings`: projects as excerpts, to be scored or learnt from; `export`: results as a project.
- `codebooks`: codebooks to and from .qdc; `palette`: their colours.
- `schemas/`: the XML schemas of the standard.
"""
