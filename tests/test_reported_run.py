"""The whole way from a list of reported misses to the report, on rendered scenes and on real photos."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import yaml
from rendered import write_config, write_world

import xai
from xai import sampling
from xai.exceptions import RequestError, RunError
from xai.report import summarize

MISSES = ["missed", "confused", "mislocated"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run of an annotated set and a run of cases that are its misses.

    The misses stand alone: with neighbours whose labels are not known, a detection of one would be taken for the case.
    """
    folder = tmp_path_factory.mktemp("reported")
    annotated = xai.triage(write_world(folder), out=folder / "annotated")
    misses = annotated.objects.filter(
        pl.col("split") == "eval", pl.col("outcome").is_in(MISSES), pl.col("crowding") == 0
    ).head(4)
    found = annotated.objects.filter(pl.col("split") == "eval", pl.col("outcome") == "found").head(1)
    rows = [(Path(row["image_id"]).name, row["label"].upper(), row) for row in pl.concat([misses, found]).to_dicts()]
    with (folder / "cases.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "label", "x1", "y1", "x2", "y2", "note"])
        for index, (name, label, row) in enumerate(rows):
            box = ["", "", "", ""] if index == 0 else [row[corner] for corner in ("x1", "y1", "x2", "y2")]
            writer.writerow([name, label, *box, "<b>seen & told</b>"])
        writer.writerow(["nowhere.jpg", "car", "", "", "", "", ""])
    xai.triage(config(folder, "cases.yaml"), out=folder / "run")
    return folder


def config(folder: Path, name: str, **data: object) -> Path:
    path = write_config(folder / name, explain={"budget": 4, "maps": 1})
    raw = yaml.safe_load(path.read_text())
    del raw["data"]["eval"]
    raw["data"] |= {"production": {"path": "eval/JPEGImages"}, "reported": "cases.csv", "max_bad": 0.5, **data}
    path.write_text(yaml.safe_dump(raw))
    return path


def test_each_case_is_explained_like_the_miss_that_it_is(world: Path) -> None:
    annotated, run = xai.Run(world / "annotated"), xai.Run(world / "run")
    assert run.info["question"] == "reported"
    cases = run.objects.filter(pl.col("split") == "production")
    assert cases["outcome"].is_in(MISSES).sum() == len(run.verdicts) == 4
    assert set(run.verdicts["error_id"]) == set(run.errors["error_id"])
    assert run.verdicts["sentence"].str.len_chars().min() > 20
    same = annotated.objects.filter(pl.col("split") == "eval").select(
        pl.col("image_id").str.split("/").list.last(), "x1", "y1", "outcome", "object_size"
    )
    placed = cases.filter(pl.col("x1").is_not_null())
    both = placed.join(same, on=["image_id", "x1", "y1"])
    assert len(both) == len(placed) == 4
    assert both["outcome"].to_list() == both["outcome_right"].to_list()
    assert both["object_size"].to_list() == both["object_size_right"].to_list()
    assert len(list((world / "run" / "gallery").iterdir())) == 4


def test_a_case_beside_what_is_found_is_explained_all_the_same(world: Path) -> None:
    """A detection that covers it loosely may be of the object beside it; one that fits closely is of it."""
    run = xai.Run(world / "annotated")
    found = run.objects.filter(pl.col("split") == "eval", pl.col("outcome") == "found", pl.col("iou") > 0.85).head(1)
    (row,) = found.to_dicts()
    width = row["x2"] - row["x1"]
    name = Path(row["image_id"]).name
    shifted = [
        f"{name},{row['label']},{row['x1'] + d},{row['y1']},{row['x2'] + d},{row['y2']}" for d in (0, width * 0.25)
    ]
    for index, line in enumerate(shifted):
        (world / "beside.csv").write_text(f"image,label,x1,y1,x2,y2\n{line}\n")
        told = xai.triage(config(world, "beside.yaml", reported="beside.csv"), out=world / f"beside {index}")
        if index == 0:
            assert told.verdicts.is_empty()
            assert told.issues.filter(pl.col("code") == "case_found").height == 1
        else:
            (error,) = told.errors.to_dicts()
            assert (error["kind"], error["mechanism"]) == ("mislocated", "poor_box")
            assert 0.5 < error["best_iou"] < 0.75
            assert "but its surest box overlaps this one by" in told.verdicts["sentence"][0]


def test_rates_are_not_stated_and_reports_answer_no_promise(world: Path) -> None:
    run = xai.Run(world / "run")
    assert run.coverage["miss_rate"].null_count() == len(run.coverage)
    assert [answer["answer"] for answer in run.info["promise"]] == ["not shown"]
    assert run.predictions.filter(pl.col("split") == "production", pl.col("outcome") == "background").is_empty()
    assert not run.errors.filter(~pl.col("kind").is_in(MISSES)).height


def test_odd_cases_are_issues_and_counted(world: Path) -> None:
    run = xai.Run(world / "run")
    codes = dict(run.issues.group_by("code").len().iter_rows())
    assert (codes["case_without_photo"], codes["case_found"]) == (1, 1)
    counts = {(step["step"], step["unit"]): step for step in run.info["funnel"]["production"]}
    assert counts["found", "objects"]["count"] == 6
    assert counts["valid", "objects"]["count"] == 5


def test_the_report_speaks_of_reports(world: Path) -> None:
    page = (world / "run" / "report.html").read_text()
    assert "reported misses" in page
    assert "Miss rate" not in page
    assert "&lt;b&gt;seen &amp; told&lt;/b&gt;" in page
    assert "<b>seen" not in page
    assert "No sample of the production photos is labelled" in page


def test_a_labelled_sample_answers_the_promise(world: Path) -> None:
    shutil.copytree(world / "run", world / "audited")
    drawn = sampling.sample(world / "audited", 5)
    assert drawn.of == 12
    assert len(drawn.image_ids) == 5
    assert set(drawn.image_ids) < set(sampling.sample(world / "run", 9).image_ids), (
        "a larger sample adds to the smaller"
    )
    coco = json.loads(drawn.coco.read_text())
    assert [image["file_name"] for image in coco["images"]] == list(drawn.image_ids)
    assert [category["name"] for category in coco["categories"]] == ["car", "truck", "person"]
    for part in ("Annotations", "JPEGImages"):
        (world / "labels" / part).mkdir(parents=True)
    for name in [
        *drawn.image_ids,
        next(iter(set(xai.Run(world / "run").images.filter(split="production")["image_id"]) - set(drawn.image_ids))),
    ]:
        shutil.copy(world / "eval" / "JPEGImages" / Path(name).name, world / "labels" / "JPEGImages")
        shutil.copy((world / "eval" / "Annotations" / name).with_suffix(".xml"), world / "labels" / "Annotations")
    run = xai.triage(config(world, "audited.yaml", audit={"path": "labels", "format": "voc"}), out=world / "audited")
    audit = run.objects.filter(pl.col("split") == "audit", pl.col("outcome") != "ignored")
    (answer,) = run.info["promise"]
    assert answer["denominator"] == len(audit) > 0
    assert answer["numerator"] == audit["outcome"].eq("found").sum()
    assert answer["low"] < answer["rate"] < answer["high"]
    assert answer["sentence"].startswith("In the labelled sample of 6 photos (1 of them not drawn at random:")
    assert (
        run.issues.filter(pl.col("code") == "audit_photo_not_drawn").height
        == run.info["data"]["audit"]["not_drawn"]
        == 1
    )
    assert run.info["data"]["audit"]["unlabelled"] == 0
    assert len(run.verdicts) == 4
    assert "in the labelled sample" in run.report.read_text()
    # Cases of classes that the detector lacks were reported all the same, and the labelled sample still judges.
    summary = summarize(world / "audited")
    assert summary.judged_photos == 6
    told = replace(summary, objects=0, misses=0, ignored=2, causes=(), chance=0, unexplained=0).lines()
    assert not told[0].startswith("Nothing to judge")
    assert "People reported 2 misses in 12 production photos; 2 repeat another or are of a class" in " ".join(told)


def test_a_sample_has_at_least_one_photo(world: Path) -> None:
    with pytest.raises(RequestError, match="got 0"):
        sampling.sample(world / "run", 0)


def test_only_reported_cases_are_sampled(world: Path) -> None:
    with pytest.raises(RunError, match="run of reported cases"):
        sampling.sample(world / "annotated", 5)


def test_all_cases_without_a_box(world: Path) -> None:
    (world / "bare.csv").write_text(
        "image,label\n" + (world / "cases.csv").read_text().splitlines()[1].split(",")[0] + ",car\n"
    )
    run = xai.triage(config(world, "bare.yaml", reported="bare.csv"), out=world / "bare")
    assert run.verdicts["cause"].to_list() == ["unexplained"]
    assert "Nobody said where in the photo it is" in run.verdicts["sentence"][0]
    assert run.evidence.filter(pl.col("kind").str.starts_with("repair")).is_empty()
    assert "somewhere in the photo" in run.report.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("follow_links")
def test_real_photos(shared_data: Path, tmp_path: Path) -> None:
    """Ten real misses of a real detector as cases, then a labelled sample of 100 photos."""
    voc = shared_data / "voc" / "eval"
    raw = yaml.safe_load((Path(__file__).resolve().parents[1] / "configs" / "voc.yaml").read_text())
    classes = raw["data"]["classes"]
    detector = {"kind": "ultralytics", "weights": str(shared_data / "weights" / "yolo11n_coco.pt")}
    annotated = {"data": {"eval": {"path": str(voc), "format": "voc"}, "classes": classes}, "detector": detector}
    (tmp_path / "annotated.yaml").write_text(yaml.safe_dump({**annotated, "explain": {"budget": 0, "maps": 0}}))
    run = xai.triage(tmp_path / "annotated.yaml", out=tmp_path / "annotated")
    misses = run.objects.filter(pl.col("outcome").is_in(MISSES)).unique("image_id", maintain_order=True)
    crowded = pl.col("crowding") > 0.5  # next to what else is found, a miss may look found where labels are unknown
    told = misses.filter(~crowded).head(10).with_columns(pl.col("image_id").str.split("/").list.last())
    told.select(pl.col("image_id").alias("image"), "label", "x1", "y1", "x2", "y2").write_csv(tmp_path / "cases.csv")
    data = {"production": {"path": str(voc / "JPEGImages")}, "reported": "cases.csv", "classes": classes}
    asked = {"data": data, "detector": detector, "promise": {"recall": 0.9}, "explain": {"budget": 20, "maps": 1}}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(asked))
    run = xai.triage(tmp_path / "cases.yaml", out=tmp_path / "run")
    assert len(run.verdicts) == 10
    assert run.verdicts["mechanism"].null_count() == 0
    assert (run.info["promise"][0]["answer"], run.info["promise"][0]["rate"]) == ("not shown", None)

    for part in ("Annotations", "JPEGImages"):
        (tmp_path / "labels" / part).mkdir(parents=True)
    for name in sampling.sample(tmp_path / "run", 100).image_ids:
        (tmp_path / "labels" / "JPEGImages" / name).symlink_to(voc / "JPEGImages" / name)
        shutil.copy((voc / "Annotations" / name).with_suffix(".xml"), tmp_path / "labels" / "Annotations")
    asked["data"] = {**data, "audit": {"path": "labels", "format": "voc"}}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(asked))
    (answer,) = xai.triage(tmp_path / "cases.yaml", out=tmp_path / "run").info["promise"]
    assert answer["photos"] == 100
    assert 0.7 < answer["low"] < answer["rate"] < answer["high"] < 1
    assert "In the labelled sample" in answer["sentence"]
