"""What a config says of a network that was saved: it holds, or it is an error; nothing saved wins over it in silence."""

import inspect
from importlib.metadata import entry_points

import numpy as np
import pytest
import spacy

from rivega_spacy.backends.albef.entailment import albef_entailment
from rivega_spacy.backends.ofa.entailment import ofa_entailment
from rivega_spacy.backends.seqtr.grounder import seqtr_grounder
from rivega_spacy.post.errors import RivegaError

from .test_backends import pipeline, post, results, sources  # noqa: F401

PICTURE = np.random.default_rng(0).integers(0, 255, (70, 90, 3)).astype("uint8")
TRAINED = "gradient_checkpointing freeze half_on_disk"
HUB = {"source": "path", "reading": "max_tokens", "training": TRAINED}
OFA = {
    "source": "path vocab network ema seed",
    "training": f"{TRAINED} label_smoothing drop_path averaging",
}
SMALL = "width box_width word_width image_width"
SEGMENTER = "batch_size flip refine bf16"
# Architecture -> what each of its parameters is:
# source: where weights come from before there are any; saved ones are their own (`docs/backends.md`).
# weights: belongs to the weights, so that saved ones must agree. reading: how they read, which the config decides for saved ones too.
# running: not saved at all. training: says how a training goes, not what is answered. layers: other registered functions.
PARAMETERS = {
    "rivega.ALBEFEntailment.v1": {
        "source": "path vocab network",
        "weights": "image_size vision_heads text_heads",
        "reading": "append_sep max_words",
        "running": "three_way batch_size bf16 compiled",
        "training": f"{TRAINED} augmentation distillation momentum",
    },
    "rivega.SeqTRGrounder.v1": {
        "source": "path words vectors darknet network ema",
        "weights": "heads",
        "reading": "max_side max_words",
        "running": "batch_size bf16 compiled",
        "training": f"{TRAINED} new_words jitter averaging",
    },
    "rivega.OFAEntailment.v1": {**OFA, "running": "image_size use_caption labels shown batch_size bf16 compiled"},
    "rivega.OFAGrounder.v1": {**OFA, "running": "image_size beam no_repeat_ngram bins_only batch_size bf16 compiled"},
    "rivega.ITMEntailment.v1": {**HUB, "running": "batch_size bf16 compiled"},
    "rivega.GroundingDINO.v1": {
        **HUB,
        "running": "shortest longest batch_size bf16",
        "training": f"{TRAINED} backbone_rate save_weights",
    },
    "rivega.MMGroundingDINO.v1": {
        **HUB,
        "running": "shortest longest batch_size bf16",
        "training": f"{TRAINED} backbone_rate save_weights",
    },
    "rivega.OWLv2.v1": {**HUB, "running": "batch_size bf16 compiled", "training": f"{TRAINED} save_weights"},
    "rivega.Florence2.v1": {
        **HUB,
        "running": "task side beams longest_answer batch_size bf16",
        "training": "half_on_disk save_weights",
    },
    "rivega.SAM3.v1": {
        "source": "path",
        "running": "threshold mask_threshold together batch_size bf16",
        "training": "half_on_disk save_weights",
    },
    "rivega.CLIPSegSegmenter.v1": {"source": "path", "running": "threshold text_batch", "training": "freeze half_on_disk"},
    "rivega.ChatEntailment.v1": {"layers": "client store", "running": "prompt max_tokens alternatives"},
    "rivega.ChatGrounder.v1": {"layers": "client store", "running": "prompt max_tokens convention max_side"},
    "rivega.GroundingScore.v1": {"layers": "grounder"},
    "rivega.SmallEntailment.v1": {"weights": f"{SMALL} image_widths image_depths", "reading": "size", "running": "bf16"},
    "rivega.SmallGrounder.v1": {"weights": f"{SMALL} image_widths image_depths", "reading": "size", "running": "bf16 second_look"},
    "rivega.SmallEntailment.v2": {"weights": f"{SMALL} middle depth backbone", "reading": "size", "running": "bf16"},
    "rivega.SmallGrounder.v2": {
        "weights": f"{SMALL} middle depth backbone",
        "reading": "size",
        "running": "bf16 second_look",
        "training": "trained_stages",
    },
    "rivega.SmallSegmenter.v2": {
        "weights": "widths depths fine",
        "reading": "size margin",
        "running": SEGMENTER,
        "training": "jitter rotation encoder_rate growth threads ema_decay seed",
    },
    "rivega.SmallSegmenter.v3": {
        "weights": "middle width fine depth phrase_width word_width",
        "reading": "size margin",
        "running": SEGMENTER,
        "training": "jitter rotation pasted unnamed trained_stages growth ema_decay seed",
    },
    "rivega.KnowledgeTransformerModel.v1": {
        "source": "name",
        "weights": "case_features",
        "running": "max_length max_knowledge bf16 eight_bits bucket_pieces",
        "training": "knowledge_dropout word_dropout case_learn_rate layer_decay freeze_embeddings freeze_layers shared_dropout "
        "half_on_disk byte_embeddings ema_decay",
    },
    "rivega.KnowledgeTok2Vec.v1": {"layers": "transformer pooling", "training": "grad_factor"},
    "rivega.TransformerListener.v1": {"layers": "pooling", "running": "upstream", "training": "grad_factor"},
    "rivega.CRFTagger.v1": {
        "layers": "tok2vec",
        "weights": "nO hidden_width",
        "running": "implementation",
        "training": "dropout learn_rate crf_learn_rate half_on_disk ema_decay",
    },
    "rivega.MultimodalTagger.v1": {
        "layers": "tok2vec",
        "weights": "nO heads pictures",
        "running": "implementation",
        "training": "dropout picture_dropout learn_rate crf_learn_rate half_on_disk ema_decay span_loss",
    },
}


def test_it_is_known_of_every_parameter_what_becomes_of_it_when_weights_are_saved():
    found = {point.name: point.load() for point in entry_points(group="spacy_architectures") if point.name.startswith("rivega.")}
    known = {name: sorted(" ".join(kinds.values()).split()) for name, kinds in PARAMETERS.items()}
    assert known == {
        name: sorted(p.name for p in inspect.signature(make).parameters.values() if p.kind is not p.VAR_KEYWORD)
        for name, make in found.items()
        # Loading one says what to install.
        if name != "rivega.SmallSegmenter.v1"
    }


def answers(nlp):
    docs = [post(nlp, PICTURE, "a man-eating dog on the long way to the old harbour", text) for text in ("Rex the dog", "Rex")]
    return results(list(nlp.pipe(docs)))


READING = [
    ("ALBEFEntailment", {"max_words": 1}),
    ("ALBEFEntailment", {"append_sep": True}),
    ("SeqTRGrounder", {"max_words": 1}),
    ("SeqTRGrounder", {"max_side": 96}),
    ("ITMEntailment", {"max_tokens": 4}),
    ("GroundingDINO", {"max_tokens": 4}),
    ("OWLv2", {"max_tokens": 4}),
    ("OFAEntailment", {"image_size": 32}),
    ("OFAGrounder", {"image_size": 32}),
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*W740")
@pytest.mark.parametrize("name, change", READING, ids=[f"{name}-{next(iter(change))}" for name, change in READING])
def test_how_saved_weights_read_is_for_the_config_to_say(sources, name, change, tmp_path):  # noqa: F811
    options, path = sources(name)
    plain, factory = pipeline(name, {**options, "half_on_disk": False}, path)
    before = answers(plain)
    plain.to_disk(tmp_path / "saved")
    wanted = answers(pipeline(name, {**options, **change}, path)[0])
    assert wanted != before, "the setting makes no difference here, so this test would not see one"
    (option, value), key = next(iter(change.items())), f"components.{factory}.model"
    loaded = spacy.load(tmp_path / "saved", config={f"{key}.{option}": value})
    assert answers(loaded) == wanted
    # And so it stays: it is saved with the config, and loaded from there.
    loaded.to_disk(tmp_path / "again")
    assert answers(spacy.load(tmp_path / "again")) == wanted
    # Loading into a pipeline of another config is no different.
    assert answers(pipeline(name, {**options, **change}, path)[0].from_bytes(plain.to_bytes())) == wanted


@pytest.mark.slow
def test_two_that_share_a_network_read_as_each_of_them_is_told(sources):  # noqa: F811
    options, path = sources("OWLv2")
    short = answers(pipeline("OWLv2", {**options, "max_tokens": 4, "save_weights": False}, path)[0])
    kept = pipeline("OWLv2", {**options, "save_weights": False}, path)[0]
    long = answers(kept)
    assert long != short
    assert answers(pipeline("OWLv2", {**options, "max_tokens": 4, "save_weights": False}, path)[0]) == short
    assert answers(kept) == long


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*W740")
@pytest.mark.parametrize(
    "name, option, value",
    [("ALBEFEntailment", "image_size", 64), ("ALBEFEntailment", "text_heads", 2), ("SeqTRGrounder", "heads", 2)],
)
def test_what_belongs_to_saved_weights_cannot_be_said_otherwise(sources, name, option, value, tmp_path):  # noqa: F811
    options, path = sources(name)
    nlp, factory = pipeline(name, options, path)
    nlp.to_disk(tmp_path)
    with pytest.raises(RivegaError, match=rf"E080.*network\.{option} = {value}.*saved with network\.{option} = {options[option]}"):
        spacy.load(tmp_path, config={f"components.{factory}.model.{option}": value})


@pytest.mark.parametrize(
    "make, options, named",
    [
        (albef_entailment, {"path": "ALBEF.pth", "network": {}}, "network"),
        (albef_entailment, {"network": {}, "image_size": 32}, "image_size"),
        (albef_entailment, {"network": {}, "text_heads": 2}, "text_heads"),
        (seqtr_grounder, {"path": "det_best.pth", "network": {}}, "network"),
        (seqtr_grounder, {"network": {}, "heads": 4}, "heads"),
        (seqtr_grounder, {"network": {"max_side": 64}}, "max_side"),
        (seqtr_grounder, {"network": {"vocab_size": 64}}, "vocab_size"),
        (ofa_entailment, {"path": "ofa.pt", "network": {}}, "network"),
        (ofa_entailment, {"network": {}, "ema": True}, "ema"),
    ],
)
def test_sizes_that_would_have_no_effect_are_refused(make, options, named):
    with pytest.raises(RivegaError, match=f"E849.*`{named}` has no effect"):
        make(**options)
