"""The tagger that looks at the picture: where the picture decides, it is right, before and after saving; without one it still tags."""

import numpy as np
import pytest
import spacy
import torch
from spacy.training import Example

from rivega_spacy.backends.fusion.attention import Fusion
from rivega_spacy.backends.fusion.pictures import LiteGrid, LiteNetwork, TransformersGrid, build_grid
from rivega_spacy.knowledge.encoders import ColourEncoder
from rivega_spacy.knowledge.example_bank import encode_examples, load_bank
from rivega_spacy.knowledge.examples import Example as Annotated
from rivega_spacy.knowledge.fusion import FusionFeatures
from rivega_spacy.knowledge.selection import make_msea
from rivega_spacy.ner import crf, multimodal
from rivega_spacy.ner.targets import set_missing_labels
from rivega_spacy.post.errors import RivegaError
from rivega_spacy.training.bioes import to_bioes

from .conftest import make_pipeline

COLOURS = {"PER": (220, 30, 30), "LOC": (20, 60, 220)}


def picture(label, noise=0):
    image = np.zeros((40, 56, 3), dtype="uint8")
    image[:] = COLOURS[label]
    image[:, :noise] = 255
    return image


@pytest.fixture(scope="module")
def vision_dir(tmp_path_factory):
    """A random ViT, as transformers saves it."""
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("vit")
    config = ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, image_size=32, patch_size=16
    )
    model = ViTModel(config, add_pooling_layer=False)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8.0) if parameter.ndim > 1 else None
    model.save_pretrained(folder)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def head(vision_dir, **options):
    pictures = {"@misc": "rivega.TransformersGrid.v1", "path": str(vision_dir)}
    return {"@architectures": "rivega.MultimodalTagger.v1", "pictures": pictures, "heads": 2, **options}


def posts(nlp, noise=0):
    """One text with one name, which is a person in red pictures and a place in blue ones."""
    examples = []
    for label in ("PER", "LOC"):
        doc = nlp.make_doc("paris rocks tonight")
        doc._.image = picture(label, noise)
        examples.append(Example.from_dict(doc, {"entities": [(0, 5, label)]}))
    return examples


@pytest.fixture(scope="module")
def sees(encoder_dir, vision_dir):
    """A pipeline that has learned `posts`; tests must not change it."""
    nlp = make_pipeline(encoder_dir, head=head(vision_dir, learn_rate=3.0, crf_learn_rate=3.0, dropout=0.0, picture_dropout=0.0))
    optimizer = nlp.initialize(lambda: posts(nlp))
    optimizer.learn_rate = 0.01
    for _ in range(40):
        nlp.update(posts(nlp), sgd=optimizer)
    return nlp


def told(nlp, *examples):
    return [[(ent.text, ent.label_) for ent in doc.ents] for doc in nlp.pipe(example.predicted for example in examples)]


RIGHT = [[("paris", "PER")], [("paris", "LOC")]]


@pytest.mark.slow
def test_the_picture_decides(sees):
    assert told(sees, *posts(sees)) == RIGHT
    assert told(sees, *posts(sees, noise=6)) == RIGHT
    # One post at a time and in any order: a picture is not mixed up with its neighbour's.
    assert told(sees, *reversed(posts(sees))) == RIGHT[::-1]
    assert [told(sees, example)[0] for example in posts(sees)] == RIGHT


def test_a_text_alone_cannot_tell(encoder_dir):
    nlp = make_pipeline(encoder_dir)
    optimizer = nlp.initialize(lambda: posts(nlp))
    optimizer.learn_rate = 0.01
    for _ in range(20):
        nlp.update(posts(nlp), sgd=optimizer)
    first, second = told(nlp, *posts(nlp))
    assert first == second


@pytest.mark.slow
def test_round_trips(sees, tmp_path, vision_dir):
    sees.to_disk(tmp_path / "pipeline")
    # What it was trained from is not needed again.
    config = {"components.rivega_ner.model.pictures.path": str(tmp_path / "nowhere")}
    loaded = spacy.load(tmp_path / "pipeline", config=config)
    assert told(loaded, *posts(loaded)) == RIGHT
    other = spacy.load(tmp_path / "pipeline").from_bytes(sees.to_bytes())
    assert told(other, *posts(other)) == RIGHT
    with pytest.raises(RivegaError, match="heads"):
        spacy.load(tmp_path / "pipeline", config={"components.rivega_ner.model.heads": 4})


def test_posts_without_a_picture_are_tagged_by_their_text(sees, tmp_path):
    bare = sees.make_doc("paris rocks tonight")
    broken = sees.make_doc("paris rocks tonight")
    broken._.image = str(tmp_path / "none.jpg")
    empty = sees.make_doc("")
    seen = posts(sees)[1].predicted
    docs = list(sees.pipe([bare, broken, empty, seen]))
    assert [ent.text for ent in docs[0].ents] == [ent.text for ent in docs[1].ents] == ["paris"]
    assert [(ent.text, ent.label_) for ent in docs[3].ents] == RIGHT[1]
    assert not docs[0]._.rivega_errors and "none.jpg" in docs[1]._.rivega_errors[0]["message"]


def test_worker_processes_answer_the_same(sees):
    docs = [example.predicted for example in posts(sees) * 2]
    found = [[(ent.text, ent.label_) for ent in doc.ents] for doc in sees.pipe(docs, n_process=2, batch_size=2)]
    assert found == RIGHT * 2


def test_a_picture_is_encoded_once(sees, monkeypatch):
    model = sees.get_pipe("rivega_ner").model
    model.attrs["regions"]._cache.clear()
    grid = model.shims[0].module.pictures
    seen = []
    encode = grid.encode
    monkeypatch.setattr(grid, "encode", lambda images: seen.append(len(images)) or encode(images))
    told(sees, *posts(sees), *posts(sees))
    told(sees, *posts(sees))
    assert sum(seen) == 2


def update_once(nlp):
    losses = {}
    nlp.update(posts(nlp), losses=losses)
    return losses["rivega_ner"]


@pytest.mark.slow
def test_span_detection_learns_where_names_are_from_the_words(encoder_dir, vision_dir, tmp_path):
    """Of UMT: tags without types by the words alone, half of the tagger's scores; pictures have no say in them."""
    options = {"learn_rate": 3.0, "crf_learn_rate": 3.0, "dropout": 0.0, "picture_dropout": 0.0}
    for scheme, tags in (("bio", 3), ("bioes", 5)):
        nlp = make_pipeline(encoder_dir, head=head(vision_dir, **options), tagger={"scheme": scheme})
        optimizer = nlp.initialize(lambda: posts(nlp))
        optimizer.learn_rate = 0.01
        model = nlp.get_pipe("rivega_ner").model
        assert model.shims[0].module.spans.conversion.shape == (tags, (tags - 1) * 2 + 1)
        for _ in range(40):
            nlp.update(posts(nlp), sgd=optimizer)
        assert told(nlp, *posts(nlp)) == RIGHT
        docs = [nlp.get_pipe("transformer")(example.predicted) for example in posts(nlp)]
        spans = model.predict(docs).spans
        assert torch.allclose(spans.emissions[0], spans.emissions[1], atol=1e-5), "red or blue, it is the same"
        begin = 1 if scheme == "bio" else 4
        assert crf.viterbi(spans).tolist() == [[begin, 0, 0]] * 2
    nlp.to_disk(tmp_path / "saved")
    assert told(spacy.load(tmp_path / "saved"), *posts(nlp)) == RIGHT


@pytest.mark.slow
def test_the_weight_of_span_detection(encoder_dir, vision_dir):
    """With untrained scores both losses are the logarithm of the number of allowed tags, so their sum says the weight."""
    found = {}
    for weight in (0.0, 0.5, 2.0):
        nlp = make_pipeline(encoder_dir, head=head(vision_dir, span_loss=weight))
        nlp.initialize(lambda: posts(nlp))
        found[weight] = update_once(nlp)
    assert found[0.0] == pytest.approx(np.log(5), rel=1e-3)
    assert found[0.5] == pytest.approx(np.log(5) + 0.5 * np.log(3), rel=1e-3)
    assert found[2.0] == pytest.approx(np.log(5) + 2.0 * np.log(3), rel=1e-3)
    nlp = make_pipeline(encoder_dir, head=head(vision_dir, span_loss=0.0))
    nlp.initialize(lambda: posts(nlp))
    assert nlp.get_pipe("rivega_ner").model.shims[0].module.spans is None
    with pytest.raises(RivegaError, match="E416.*span_loss"):
        make_pipeline(encoder_dir, head=head(vision_dir, span_loss=-1.0))


def test_span_detection_leaves_open_what_the_annotation_leaves_open(encoder_dir, vision_dir):
    """Where a corpus has no word for a type, a token outside may still begin an entity."""
    nlp = make_pipeline(encoder_dir, head=head(vision_dir, span_loss=1.0))
    nlp.initialize(lambda: posts(nlp))
    example = posts(nlp)[0]
    set_missing_labels(example.reference, ["LOC"])
    component = nlp.get_pipe("rivega_ner")
    scores, _ = component.model.begin_update([nlp.get_pipe("transformer")(example.predicted)])
    loss, gradient = component.get_loss([example], scores)
    assert gradient.spans.emissions.shape == (1, 3, 3)
    # The name itself is said; of the tokens behind it nothing is learnt about B.
    assert gradient.spans.emissions[0, 0, 1] < -0.1
    full, _ = component.get_loss([posts(nlp)[0]], scores)
    assert loss < full


def test_its_tags_cannot_be_changed_to_bioes(sees, tmp_path):
    """Span detection has tags of its own, which a plain head would leave behind."""
    sees.to_disk(tmp_path / "pipeline")
    with pytest.raises(RivegaError, match=r"E867.*rivega\.MultimodalTagger\.v1.*bioes"):
        to_bioes(tmp_path / "pipeline")


def test_words_are_padded_once(sees, monkeypatch):
    """Fusion and span detection read one padded batch, and say what they say when each pads its own."""
    padded = []
    monkeypatch.setattr(multimodal, "pad_chains", lambda flat, sizes: padded.append(len(flat)) or crf.pad_chains(flat, sizes))
    module = sees.get_pipe("rivega_ner").model.shims[0].module.eval()
    sizes, width = torch.tensor([3, 1]), module.fusion.width
    torch.manual_seed(0)
    vectors, regions = torch.randn(4, width), torch.randn(2, 5, module.pictures.width)
    has = torch.tensor([True, False])
    with torch.no_grad():
        typed, untyped = module(vectors, 0.0, regions, has, sizes)
        assert padded == [4]
        spans = module.spans(crf.pad_chains(vectors, sizes), crf.length_mask(sizes), 0.0)[crf.length_mask(sizes)]
        words = module.linear(module.fuse(vectors, regions, has, sizes))
    assert torch.equal(untyped, spans)
    assert torch.equal(typed, 0.5 * words + 0.5 * spans @ module.spans.conversion)


def test_heads_must_divide_the_width(encoder_dir, vision_dir):
    nlp = make_pipeline(encoder_dir, head=head(vision_dir, heads=3))
    with pytest.raises(RivegaError, match=r"E882.*3 attention heads"):
        nlp.initialize(lambda: posts(nlp))


def test_padding_and_the_neighbours_of_a_post_change_nothing():
    torch.manual_seed(0)
    fusion = Fusion(8, 4, 2).eval()
    words, regions = torch.randn(2, 5, 8), torch.randn(2, 3, 4)
    known = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    has = torch.tensor([True, True])
    both = fusion(words, known, regions, has)
    alone = fusion(words[1:, :2], known[1:, :2], regions[1:], has[1:])
    assert torch.allclose(both[1, :2], alone[0], atol=1e-5)
    # Regions of a post without a picture are not read.
    without = fusion(words, known, regions, torch.tensor([True, False]))
    other = fusion(words, known, torch.randn(2, 3, 4) + torch.cat([regions[:1] * 0, regions[1:] * 0]), torch.tensor([False, False]))
    assert torch.allclose(without[1], other[1], atol=1e-6)


def test_grids():
    network = LiteNetwork({"kind": "lite", "side": 64})
    found = network.encode([np.zeros((10, 20, 3), dtype="uint8")] * 9)
    assert found.shape == (9, 5, 1280)
    # The first vector is the mean of the places.
    assert torch.allclose(found[:, 0], found[:, 1:].mean(dim=1), atol=1e-5)
    again = build_grid(network.settings)
    again.load_state_dict(network.state_dict())
    assert torch.equal(again.encode([np.zeros((10, 20, 3), dtype="uint8")]), found[:1])
    with pytest.raises(RivegaError, match="E880"):
        LiteGrid(100)


def test_any_vision_encoder_of_transformers(tmp_path):
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, ConvNextImageProcessor, ResNetConfig, ResNetModel

    torch.manual_seed(0)
    small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    clip = CLIPModel(
        CLIPConfig(text_config={**small, "vocab_size": 99}, vision_config={**small, "image_size": 32, "patch_size": 16})
    )
    clip.save_pretrained(tmp_path / "clip")
    CLIPImageProcessor(crop_size=32).save_pretrained(tmp_path / "clip")
    resnet = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 12], depths=[1, 1], layer_type="basic"))
    resnet.save_pretrained(tmp_path / "resnet")
    ConvNextImageProcessor(size={"shortest_edge": 64}).save_pretrained(tmp_path / "resnet")
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype="uint8")
    grid = TransformersGrid(str(tmp_path / "clip")).load()
    inputs = CLIPImageProcessor(crop_size=32, size={"shortest_edge": 32})(images=[image], return_tensors="pt")
    with torch.no_grad():
        wanted = clip.eval().vision_model(**inputs).last_hidden_state
    assert torch.allclose(grid.eval().encode([image]), wanted, atol=1e-4)
    grid = TransformersGrid(str(tmp_path / "resnet")).load()
    found = grid.eval().encode([image])
    assert (grid.side, grid.width, found.shape[2]) == (64, 12, 12)
    with pytest.raises(RivegaError, match="E417"):
        TransformersGrid(str(tmp_path)).load()


def test_fusion_features_choose_examples(sees, tmp_path):
    from PIL import Image

    sees.to_disk(tmp_path / "pipeline")
    annotated = []
    for label in ("PER", "LOC"):
        path = tmp_path / f"{label}.png"
        Image.fromarray(picture(label)).save(path)
        annotated.append(Annotated("paris rocks tonight", "no picture", f"1. paris ({label})", label, str(path)))
    features = FusionFeatures(str(tmp_path / "pipeline"))
    bank = encode_examples(annotated, features, ColourEncoder())
    # Equal texts: what tells the two apart is the picture.
    assert bank.text[0] @ bank.text[1] < 0.999
    bank.save(tmp_path / "bank.safetensors")
    assert load_bank(tmp_path / "bank.safetensors").encoders["text"] == features.name
    select = make_msea(str(tmp_path / "bank.safetensors"), n=1, text_encoder=features, text_weight=1.0)
    docs = [example.predicted for example in posts(sees, noise=3)]
    assert [chosen[0].id for chosen in select(docs)] == ["PER", "LOC"]


def test_fusion_features_need_such_a_tagger(trained, tmp_path):
    trained.to_disk(tmp_path / "text_only")
    with pytest.raises(RivegaError, match="E883"):
        _ = FusionFeatures(str(tmp_path / "text_only")).name
