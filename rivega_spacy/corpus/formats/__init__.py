"""Published data sets and people's own annotations, read into compact posts.

A compact post is the row that `rivega convert` takes: {id, tokens, tags, knowledge, caption, description, image, boxes, masks}.
Texts (conll.py, prodigy.py), regions (voc.py, labelme.py, coco.py, prodigy.py) and what is published beside them (published.py) are
read apart and joined in `assemble.py`; what does not fit is counted in `dirt.py`.
"""
