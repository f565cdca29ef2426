"""When a step counts as done, and what a failing one leaves for the others."""

import pytest

from rivega_spacy.tables import running
from rivega_spacy.tables.needs import Missing
from rivega_spacy.tables.place import RunPlace
from rivega_spacy.tables.plan import Variant
from rivega_spacy.tables.running import run_step, run_variants
from rivega_spacy.tables.steps import PreparedVariant, Step


@pytest.fixture
def place(tmp_path, monkeypatch):
    # "rivega" is Python itself here: a step's command is then a few words of code.
    monkeypatch.setitem(running.PROGRAMS, "rivega", [])
    return RunPlace(data=tmp_path, output=tmp_path / "out", weights=tmp_path)


def writes(place, name, *, text="1", before="pass"):
    path = place.output / f"{name}.json"
    code = f"{before}; from pathlib import Path; Path({str(path)!r}).write_text({text!r})"
    return Step(name, ["rivega", "-c", code], path)


def variant(name, *steps, **options):
    return PreparedVariant(Variant(id=name, group="g", name=name, choices={}), steps=list(steps), **options)


def test_a_step_is_done_once_until_something_of_it_changes(place, tmp_path):
    source = tmp_path / "posts.txt"
    source.write_text("a", encoding="utf8")
    step = Step("one", writes(place, "one").words, place.output / "one.json", inputs=[source])
    assert not step.is_done(place)
    assert run_step(step, place) is None and step.is_done(place)
    other_gpu = Step("one", [*step.words, "--gpu-id", "3"], step.output, inputs=[source])
    assert other_gpu.is_done(place)
    assert not Step("one", [*step.words, "--seed", "2"], step.output, inputs=[source]).is_done(place)
    assert not Step("one", step.words, step.output, config="[training]", inputs=[source]).is_done(place)
    source.write_text("other posts", encoding="utf8")
    assert not step.is_done(place)


def test_what_a_stopped_run_left_is_not_a_result_but_a_part_brought_along_is(place):
    folder = place.part("tagger-x")
    folder.mkdir(parents=True)
    step = Step("tagger-x", ["rivega", "-c", "raise SystemExit(3)"], folder)
    assert step.is_done(place), "no stamp: somebody put it there"
    assert "ended with status 3" in run_step(step, place)
    assert folder.is_dir() and not step.is_done(place)


def test_one_failure_stops_no_other_and_a_shared_step_is_tried_once(place, tmp_path):
    mark = tmp_path / "mark"
    shared = Step(
        "shared", ["rivega", "-c", f"open({str(mark)!r}, 'a').write('x'); raise SystemExit('no such thing')"], place.output / "none"
    )
    records = run_variants(
        [
            variant("a", shared, writes(place, "a")),
            variant("b", shared, writes(place, "b")),
            variant("c", missing=[Missing("weights missing (x.pt)", "from y")]),
            variant("d", problem="no such tagger"),
            variant("e", writes(place, "e")),
        ],
        place,
    )
    assert [record["status"] for record in records] == ["failed", "failed", "not run", "broken", "run"]
    assert mark.read_text() == "x" and "no such thing" in records[1]["reason"]
    assert records[2]["reason"] == "weights missing (x.pt)" and records[3]["reason"] == "no such tagger"
    assert not (place.output / "a.json").exists() and (place.output / "e.json").exists()


def test_a_row_of_two_tables_is_run_once_and_recorded_in_both(place, tmp_path):
    mark = tmp_path / "mark"
    step = writes(place, "a", before=f"open({str(mark)!r}, 'a').write('x')")
    same = PreparedVariant(Variant(id="h.a", group="h", name="a", choices={}, same="g.a"), steps=[step])
    records = run_variants([same, variant("g.a", step)], place)
    assert [record["status"] for record in records] == ["run", "run"] and mark.read_text() == "x"
    assert place.record("g.a").is_file() and place.record("h.a").is_file()
    lacking = PreparedVariant(same.variant, missing=[Missing("masks missing", "", blocks=False)], steps=[step])
    assert lacking.ready and lacking.state() == "ready, masks missing"
    assert run_variants([lacking], place)[0]["status"] == "run"


def test_a_failing_step_takes_its_former_output_along(place):
    step = writes(place, "one")
    assert run_step(step, place) is None
    worse = Step("one", ["rivega", "-c", "raise SystemExit(1)"], step.output)
    assert "status 1" in run_step(worse, place) and not step.output.exists()
    silent = Step("one", ["rivega", "-c", "pass"], step.output)
    assert f"it made no {step.output}" in run_step(silent, place)


def test_force_does_again_what_is_done(place, tmp_path):
    count = tmp_path / "count"
    step = writes(place, "one", before=f"open({str(count)!r}, 'a').write('x')")
    for force in (False, False, True):
        run_variants([variant("a", step)], place, force=force)
    assert count.read_text() == "xx"
