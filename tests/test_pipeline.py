"""The whole way from photos to report, on rendered scenes with the shipped detector."""

import json
import os
import shutil
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rendered import write_config, write_world

import xai
from xai import pipeline, scan, shard, tables
from xai.exceptions import ConfigError, DataError

TABLES = [name for name in tables.TABLES if name != "issues"]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small world and a finished run of it."""
    folder = tmp_path_factory.mktemp("wörld with spaces")
    xai.triage(write_world(folder), out=folder / "run")
    return folder


def same(left: Path, right: Path, names: list[str]) -> None:
    for name in names:
        assert_frame_equal(tables.read(left, name), tables.read(right, name))


def test_every_table_of_the_design_is_written(world: Path) -> None:
    run = xai.Run(world / "run")
    for name, schema in tables.TABLES.items():
        frame = run.table(name)
        assert frame.columns[: len(schema)] == list(schema)
        assert frame.select(list(schema)).schema == pl.Schema(dict(schema))
    assert run.report.is_file()
    assert set(run.images["split"]) == {"train", "eval"}
    assert len(run.errors.filter(pl.col("kind").is_in(["missed", "confused", "mislocated"]))) == len(run.verdicts) > 0


def test_outcomes_errors_and_verdicts_agree(world: Path) -> None:
    run = xai.Run(world / "run")
    missed = run.objects.filter(split="eval").filter(pl.col("outcome").is_in(["missed", "confused", "mislocated"]))
    keys = ["image_id", "object_id"]
    told = run.errors.join(run.verdicts, on="error_id").select(keys)
    assert_frame_equal(missed.select(keys).sort(keys), told.sort(keys))
    assert run.verdicts["sentence"].str.len_chars().min() > 20
    assert run.objects["outcome"].is_null().sum() == run.objects.filter(split="train")["outcome"].is_null().sum() > 0


def test_provenance_answers_which_model_and_what_was_lost(world: Path) -> None:
    info = json.loads((world / "run" / "run.json").read_text())
    assert info["model"]["architecture"] == "fcos_small"
    assert len(info["model"]["sha256"]) == 64
    assert info["data"]["eval"]["captured_at"] is None
    steps = [(step["step"], step["unit"]) for step in info["funnel"]["eval"]]
    assert steps == [
        ("found", "photos"),
        ("read", "photos"),
        ("found", "objects"),
        ("valid", "objects"),
        ("used", "objects"),
    ]
    counts = {(step["step"], step["unit"]): step["count"] for step in info["funnel"]["eval"]}
    used = xai.Run(world / "run").objects.filter(pl.col("split") == "eval", pl.col("outcome") != "ignored")
    assert counts["used", "objects"] == len(used)
    assert info["promise"][0]["answer"] in {"inside", "broken", "not shown"}
    assert list(info["promise"][0]["quantiles"].values()) == sorted(info["promise"][0]["quantiles"].values())
    parts = {part["part"]: part for part in info["promise_parts"] if part["metric"] == "recall"}
    classes = {name: row for name, row in parts.items() if name.startswith("label=")}
    assert sum(part["denominator"] for part in classes.values()) == counts["used", "objects"]
    assert isinstance(info["plan"], list)


def test_rows_do_not_depend_on_workers(world: Path) -> None:
    loaded = xai.pipeline.load(world / "world.yaml", ["workers=1", "explain.budget=0"])
    xai.triage(loaded, out=world / "one worker")
    same(world / "run", world / "one worker", ["images", "objects", "predictions", "errors", "coverage"])


def test_a_killed_run_resumes_with_the_same_rows(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "SHARD_SIZE", 4)
    config = pipeline.load(world / "world.yaml")

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "scan eval" and done >= 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        xai.triage(config, out=world / "killed", progress=stop)
    with pytest.raises(xai.exceptions.RunError, match="to the end"):
        xai.Run(world / "killed")
    decoded: list[str] = []
    process = shard.batch.process
    monkeypatch.setattr(
        shard.batch, "process", lambda root, ids, **rest: decoded.extend(ids) or process(root, ids, **rest)
    )
    xai.triage(config, out=world / "killed")
    assert len(decoded) <= 8, "finished shards are not scanned again"
    same(world / "run", world / "killed", TABLES)
    assert not [path for path in (world / "killed").rglob(".*")], "no temporary file is left"


def test_only_shards_that_a_change_touches_are_scanned_again(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "SHARD_SIZE", 4)
    for split in ("train", "eval"):
        shutil.copytree(world / split, world / "moving" / split)
    config = write_config(
        world / "moving.yaml",
        data={name: {"path": f"moving/{name}", "format": "voc"} for name in ("train", "eval")},
        explain={"budget": 0},
    )
    xai.triage(config, out=world / "moved")
    decoded: list[str] = []
    process = shard.batch.process
    monkeypatch.setattr(
        shard.batch, "process", lambda root, ids, **rest: decoded.extend(ids) or process(root, ids, **rest)
    )
    xai.triage(config, out=world / "moved")
    assert not decoded
    photos = sorted(xai.Run(world / "moved").images.filter(split="eval")["image_id"])
    os.utime(world / "moving" / "eval" / photos[5], (1, 1))
    xai.triage(config, out=world / "moved")
    assert decoded == photos[4:8]
    decoded.clear()
    report = pipeline.load(config, ["promise.recall=0.5", "match.iou=0.5", "report.title=again"])
    xai.triage(report, out=world / "moved")
    assert not decoded, "neither the promise nor the report needs a photo"


def test_a_changed_threshold_is_not_mistaken_for_the_same_run(world: Path) -> None:
    shutil.copytree(world / "run", world / "changed")
    xai.triage(
        pipeline.load(world / "world.yaml", ["detector.score_threshold=0.9", "explain.budget=0"]), out=world / "changed"
    )
    before, after = (len(xai.Run(world / name).predictions) for name in ("run", "changed"))
    assert after < before


def test_a_profile_gives_the_same_coverage(world: Path) -> None:
    xai.profile(world / "train", out=world / "profile", config=pipeline.load(world / "world.yaml"))
    data = {"train": {"profile": str(world / "profile")}, "eval": {"path": "eval", "format": "voc"}}
    xai.triage(write_config(world / "by_profile.yaml", data=data, explain={"budget": 0}), out=world / "by profile")
    assert xai.Run(world / "by profile").info["data"]["train"]["is_training_set"] is True
    same(
        world / "run",
        world / "by profile",
        ["images", "objects", "predictions", "errors", "coverage", "slices", "uncovered"],
    )


def test_a_profile_of_another_detector_is_refused(world: Path) -> None:
    xai.profile(world / "train", out=world / "other", config=pipeline.load(world / "world.yaml", ["match.iou=0.6"]))
    data = {"train": {"profile": str(world / "other")}, "eval": {"path": "eval", "format": "voc"}}
    with pytest.raises(ConfigError, match=r"another detector, threshold, data\.classes or match"):
        xai.triage(write_config(world / "refused.yaml", data=data), out=world / "refused")


def test_a_results_file_gives_the_same_outcomes(world: Path) -> None:
    run = xai.Run(world / "run")
    images = run.images.filter(split="eval")["image_id"].to_list()
    labels = ["car", "truck", "person"]
    results = [
        {
            "image_id": images.index(row["image_id"]),
            "category_id": labels.index(row["label"]),
            "bbox": [row["x1"], row["y1"], row["x2"] - row["x1"], row["y2"] - row["y1"]],
            "score": row["score"],
        }
        for row in run.predictions.filter(split="eval").iter_rows(named=True)
    ]
    annotations = {
        "images": [{"id": index, "file_name": Path(name).name} for index, name in enumerate(images)],
        "categories": [{"id": index, "name": name} for index, name in enumerate(labels)],
    }
    (world / "results.json").write_text(json.dumps(results))
    (world / "annotations.json").write_text(json.dumps(annotations))
    detector = {
        "kind": "predictions",
        "weights": "results.json",
        "annotations": "annotations.json",
    }
    xai.triage(write_config(world / "by_file.yaml", detector=detector), out=world / "by file")
    told = xai.Run(world / "by file")
    columns = ["image_id", "object_id", "outcome", "prediction_id"]
    assert_frame_equal(
        run.objects.filter(split="eval").select(columns), told.objects.filter(split="eval").select(columns)
    )
    misses = told.errors.filter(pl.col("kind").is_in(["missed", "confused", "mislocated"]))
    assert set(misses["mechanism"]) <= {"unknown", "annotation"}
    assert not len(told.evidence.filter(pl.col("kind").str.starts_with("repair")))
    assert len(list((world / "by file" / "gallery").iterdir())) == len(told.verdicts)


def test_no_training_set(world: Path) -> None:
    data = {"train": None, "eval": {"path": "eval", "format": "voc"}}
    run = xai.triage(write_config(world / "alone.yaml", data=data, explain={"budget": 0}), out=world / "alone")
    assert run.coverage["train_count"].null_count() == len(run.coverage)
    assert set(run.images["split"]) == {"eval"}


def test_bad_photos_are_rows_and_counted(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "eval", tmp_path / "eval")
    photos = sorted((tmp_path / "eval" / "JPEGImages").iterdir())
    photos[0].write_bytes(b"")
    photos[1].write_bytes(photos[1].read_bytes()[:600])
    data = {"train": None, "eval": {"path": "eval", "format": "voc"}, "max_bad": 0.5}
    run = xai.triage(write_config(tmp_path / "bad.yaml", data=data, explain={"budget": 0}), out=tmp_path / "run")
    bad = run.images.filter(pl.col("status") != "ok")
    assert sorted(bad["status"]) == ["photo_empty", "photo_truncated"]
    assert set(bad["status"]) <= set(run.issues["code"])
    read = next(step for step in run.info["funnel"]["eval"] if step["step"] == "read")
    assert read["lost"] == {"photo_empty": 1, "photo_truncated": 1}
    valid = next(step for step in run.info["funnel"]["eval"] if step["step"] == "valid")
    found = next(step for step in run.info["funnel"]["eval"] if (step["step"], step["unit"]) == ("found", "objects"))
    assert found["count"] - sum(valid["lost"].values()) == valid["count"] == len(run.objects)


def test_a_mended_photo_is_read_again(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "eval", tmp_path / "eval")
    photo = sorted((tmp_path / "eval" / "JPEGImages").iterdir())[0]
    content = photo.read_bytes()
    photo.write_bytes(b"")
    data = {"train": None, "eval": {"path": "eval", "format": "voc"}}
    config = write_config(tmp_path / "mended.yaml", data=data, explain={"budget": 0})
    with pytest.raises(DataError, match="1 photo_empty"):
        xai.triage(config, out=tmp_path / "run")
    photo.write_bytes(content)
    assert set(xai.triage(config, out=tmp_path / "run").images["status"]) == {"ok"}


def test_too_many_lost_labels_stop_the_run(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "eval", tmp_path / "eval")
    for label in sorted((tmp_path / "eval" / "Annotations").iterdir())[:4]:
        label.write_text("<annotation>")
    data = {"train": None, "eval": {"path": "eval", "format": "voc"}}
    with pytest.raises(DataError, match=r"4 of 12 photos of data\.eval"):
        xai.triage(write_config(tmp_path / "lost.yaml", data=data), out=tmp_path / "run")


def test_too_many_bad_photos_stop_the_run(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "eval", tmp_path / "eval")
    for photo in sorted((tmp_path / "eval" / "JPEGImages").iterdir())[:3]:
        photo.write_bytes(b"not a photo")
    data = {"train": None, "eval": {"path": "eval", "format": "voc"}}
    with pytest.raises(DataError, match=r"3 of 12 photos of data\.eval .* data\.max_bad allows 5%.*3 photo_unreadable"):
        xai.triage(write_config(tmp_path / "bad.yaml", data=data), out=tmp_path / "run")
