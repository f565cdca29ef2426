"""Loads the shipped pipeline and annotates a post under an audit hook; prints what it did that it should not, as JSON."""

import json
import os
import sys

FORBIDDEN = (
    "socket.connect",
    "socket.bind",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "urllib.Request",
    "http.client.connect",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.mkdir",
    "os.chmod",
    "os.link",
    "os.symlink",
    "shutil.rmtree",
    "pickle.find_class",
    "webbrowser.open",
)
seen = []


def hook(event, arguments):
    if event in FORBIDDEN:
        seen.append([event, repr(arguments)[:200]])
    elif event == "open":
        path, mode, flags = arguments
        writes = (isinstance(mode, str) and any(letter in mode for letter in "wax+")) or (
            isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and not isinstance(mode, str)
        )
        if writes and str(path) not in ("/dev/null", os.devnull):
            seen.append([event, repr(arguments)[:200]])


sys.addaudithook(hook)
import spacy  # noqa: E402

nlp = spacy.load(sys.argv[1])
doc = nlp.make_doc("Eileen Collins in front of the space shuttle")
doc._.image = sys.argv[2]
doc = nlp(doc)
print(json.dumps({"seen": seen, "ents": [ent.text for ent in doc.ents], "boxes": [bool(ent._.box) for ent in doc.ents]}))
