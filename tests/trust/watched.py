"""Loads the shipped pipeline and annotates posts, one by itself and four in a stream, under an audit hook; prints what it did that it should not, as JSON."""

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


def posts():
    for picture in (sys.argv[2], "http://127.0.0.1:9/picture.png", "file:///etc/hostname", None):
        doc = nlp.make_doc("Eileen Collins in front of the space shuttle")
        doc._.image = picture
        yield doc


docs = [nlp(next(posts())), *nlp.pipe(posts(), batch_size=2)]
print(
    json.dumps(
        {
            "seen": seen,
            "ents": [[ent.text for ent in doc.ents] for doc in docs],
            "boxes": [[ent._.box is not None for ent in doc.ents] for doc in docs],
        }
    )
)
