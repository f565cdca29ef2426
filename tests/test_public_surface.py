"""Nothing public disappears or changes unnoticed."""

import json

import public_surface as surface


def test_the_public_surface_is_the_frozen_one():
    lines = list(surface.differences(json.loads(surface.FROZEN.read_text(encoding="utf8")), surface.read_surface()))
    told = "\n".join(lines)
    assert not lines, (
        f"The public surface is not the frozen one:\n{told}\n"
        "What is gone or changed breaks saved pipelines, configs or scripts: keep the old name as an alias where you can.\n"
        "Where the change is meant, `python tests/public_surface.py` freezes the surface as it is now, and CHANGELOG.md tells users."
    )


def test_what_is_gone_new_or_changed_is_named():
    frozen = {"registered": {"a.v1": {"size": 1, "bf16": False}, "b.v1": {}}}
    found = {"registered": {"a.v1": {"size": 2}, "c.v1": {}}}
    assert list(surface.differences(frozen, found)) == [
        "gone: registered > a.v1 > bf16",
        "changed: registered > a.v1 > size: 1 -> 2",
        "gone: registered > b.v1",
        "new: registered > c.v1",
    ]


def test_the_frozen_surface_holds_every_kind():
    frozen = json.loads(surface.FROZEN.read_text(encoding="utf8"))
    assert frozen["extensions"]["Span"]["boxes"] == {"getter": True, "setter": True}
    assert frozen["registered"]["spacy_misc"]["rivega.Replay.v1"] == {"path": surface.REQUIRED, "name": "replay", "source": None}
    assert frozen["registered"]["spacy_factories"]["rivega_grounder"]["settings"]["min_score"] == 0.0
    assert "rivega_spacy.post.posts.annotate" in frozen["documented"]
    assert {"annotate", "convert", "score"} <= set(frozen["commands"])
    assert frozen["moved"]["images"] == "post.images"
