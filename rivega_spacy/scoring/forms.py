"""The forms of predictions and gold data that are read, as the help of commands says it."""

FORMS = """Forms that are read, told apart by what a line holds:
  JSONL, one entity a line: id, text, type; optional start, end (tokens), ve or groundable (0, 2, true, false), boxes or box,
    mask_rle or masks (the form of RiVEG's released predictions)
  JSONL, one post a line: text, ents [{start, end, label, groundable, boxes, mask_rle}] (what `rivega annotate` writes)
  JSONL, one post a line: id, tokens, tags (BIO), boxes [{name, xyxy, mask_rle}] (the compact form of data sets)
  text of H-Index, a block a post: words, `Pred: (Name , [3] , <<person>> )`, ...; with --candidates, the boxes that it chose from
  text, one entity a line: [Imageid:]ID.jpg[#UID]###Name(TYPE)###expression###0|2[###&[x1, y1, x2, y2]&[...]]
  .spacy: DocBin with user data"""
