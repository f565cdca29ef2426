"""The commands of `rivega`: names, panels and one-line helps. Their modules are imported when they are called, not before."""

from typing import NamedTuple

LOOK, DATA, TRAIN, NETWORKS = "Annotate and view", "Data", "Train and measure", "Published networks"
INSTALLED = "What is installed"


class Listed(NamedTuple):
    """A command as its group's help lists it.

    panel (str): Heading that it stands under.
    help (str): What it does, in a line.
    """

    panel: str
    help: str


# "GROUP COMMAND" for the commands of a group. The module's name is the command's, with underscores; it has `run`, whose typed
# parameters are the arguments and which returns the exit status, and EXAMPLES.
COMMANDS = {
    "annotate": Listed(LOOK, "Find the entities in posts, and which of them the pictures show; JSON lines in, JSON lines out."),
    "render": Listed(LOOK, "Show annotated posts: JSON lines in, HTML pages and PNG pictures with boxes and masks out."),
    "demo": Listed(LOOK, "Run the demo posts through a pipeline and write a page with their photographs, boxes and masks."),
    "serve": Listed(LOOK, "View and correct posts in the browser, or annotate them through an HTTP API."),
    "export": Listed(
        LOOK,
        "Write annotated posts in another tool's format: COCO, labelme, Label Studio, Prodigy, W3C Web Annotation, CSV, Parquet, DocBin.",
    ),
    "convert": Listed(
        DATA, "Turn annotated posts (compact JSON lines, CoNLL text, Prodigy exports) with boxes and masks into .spacy files."
    ),
    "enrich": Listed(
        DATA,
        "Have language models write captions, knowledge and expansions for posts; every answer is kept, and none is asked for twice.",
    ),
    "index": Listed(
        DATA, "Build a collection of passages (JSON lines, text) to retrieve knowledge from, by words and by pictures."
    ),
    "retrieve": Listed(DATA, "Add knowledge from a collection to posts, without a language model."),
    "examples": Listed(DATA, "Compute the features of annotated in-context examples."),
    "examples build": Listed("Commands", "Turn annotated examples (JSON lines) into a file of features for rivega.MSEA.v1."),
    "store": Listed(DATA, "Count, export or import the answers in an answer store."),
    "store stats": Listed("Commands", "Count answers and tokens by model and prompt."),
    "store export": Listed("Commands", "Write the answers as JSON lines, to ship with a data set."),
    "store import": Listed("Commands", "Import answers that were exported."),
    "data": Listed(DATA, "Check, convert, unpack and extend the project's training data."),
    "data check": Listed("Commands", "Report missing or damaged data files, and where to get them."),
    "data convert": Listed("Commands", "Convert Twitter-GMNER to train, dev and test .spacy, and to compact JSON lines."),
    "data unpack-photos": Listed("Commands", "Unpack the photographs that the small vision networks learn from."),
    "data more-posts": Listed("Commands", "Extract Twitter-2015 and -2017 posts that are in no split of Twitter-GMNER."),
    "data more-texts": Listed("Commands", "Convert the training lines of WNUT-17, the Broad Twitter Corpus and CoNLL-2003."),
    "data swap-mentions": Listed("Commands", "Write copies of training posts in which names are replaced by others."),
    "train": Listed(TRAIN, "Train parts of a pipeline further on your own posts, and compare before and after."),
    "init-config": Listed(TRAIN, "Write a complete, commented training config: which part, which network, CPU or GPU."),
    "fit-threshold": Listed(TRAIN, "Choose the entailment component's threshold on dev posts, and save the pipeline with it."),
    "evaluate": Listed(TRAIN, "Run a pipeline over annotated posts (pictures and knowledge kept) and score it."),
    "score": Listed(TRAIN, "Score predictions against gold data: MNER, GMNER, EEG, EES, SMNER, and each step."),
    "stats": Listed(
        DATA,
        "Count what a data set contains: entities, groundable ones, boxes, masks, pairs, sources (the paper's Tables II, III).",
    ),
    "candidates": Listed(
        TRAIN, "Write an object detector's most likely boxes for every picture, with TopN-Prec (the paper's Table I)."
    ),
    "report": Listed(
        TRAIN, "Write an evaluation as one HTML page: tables, curves, confusion, the worst and best posts with their pictures."
    ),
    "tables": Listed(TRAIN, "Write configs, run experiments and make tables from a list (configs/variants.yml)."),
    "pipeline": Listed(TRAIN, "Average, convert, finish and package trained pipelines."),
    "pipeline average": Listed("Commands", "Average the weights of several runs that started from the same weights."),
    "pipeline to-bioes": Listed("Commands", "Convert a tagger with BIO tags into one with BIOES tags and the same results."),
    "pipeline finish": Listed(
        "Commands", "Prepare an assembled pipeline for release: remove training words, complete meta.json, write a model card."
    ),
    "pipeline package": Listed("Commands", "Write a finished pipeline as an installable source folder with a fixed name."),
    "vision": Listed(TRAIN, "Prepare, export and measure the small vision networks."),
    "vision keep": Listed(
        "Commands", "Cache what the frozen backbone makes of photographs, so that training only costs what the heads do."
    ),
    "vision export": Listed(
        "Commands", "Export a trained network as spaCy components, with scores calibrated on the dev photographs."
    ),
    "vision measure": Listed("Commands", "Measure a network on photographs, set by set: boxes, and shown or not."),
    "vision grow": Listed("Commands", "Make a deeper network that starts with the same answers as a trained one."),
    "vision draw-masks": Listed(
        "Commands", "Draw masks in the boxes of photographs with a trained segmenter, to train the next one on."
    ),
    "info": Listed(INSTALLED, "Show versions and devices; for a pipeline, its parts, what each writes, and their sizes."),
    "doctor": Listed(INSTALLED, "Check what each feature still needs, how to get it, and what would be faster."),
    "benchmark": Listed(INSTALLED, "Measure a pipeline's speed and peak memory, by batch size and by stage."),
    "assemble-open": Listed(
        NETWORKS, "Put together a pipeline of open networks from the model hub; lists what it would download and asks first."
    ),
    "convert-checkpoint": Listed(
        NETWORKS, "Write a published network's weights (OFA, ALBEF, SeqTR) as safetensors, which cannot hold code."
    ),
    "parity": Listed(
        NETWORKS, "Compare a port of a published network with reference outputs: the largest difference of every tensor."
    ),
}


def commands_of(group: str) -> dict[str, Listed]:
    """The commands of a group by name; "" for those of `rivega` itself."""
    if group:
        return {name.removeprefix(f"{group} "): listed for name, listed in COMMANDS.items() if name.startswith(f"{group} ")}
    return {name: listed for name, listed in COMMANDS.items() if " " not in name}


def is_group(name: str) -> bool:
    """Whether a command has commands of its own."""
    return bool(commands_of(name))
