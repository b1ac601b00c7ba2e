"""Measuring batches and tagging folders: order, independence, unreadable photos, and a light import."""

import csv
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import attributes
from attributes import ATTRIBUTES, measure, tag
from attributes.extract import BATCH_SIZE

IMAGE = [name for name, attribute in ATTRIBUTES.items() if attribute.level == "image"]


def scene(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 8, 3)).astype(np.float32)
    photo = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (photo + generator.normal(0, 5, photo.shape)).clip(0, 255).astype(np.uint8)


def save(path: Path, photo: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, photo[..., ::-1])[1].tobytes())


def test_values_do_not_depend_on_the_batch_or_the_thread() -> None:
    photos = [scene(seed, 80 + 8 * seed, 140 - 8 * seed) for seed in range(5)]
    boxes = [np.array([[5.0, 5, 60, 70], [20, 10, 50, 40]])[: seed % 3] for seed in range(5)]
    together = measure(photos, boxes)
    with ThreadPoolExecutor(3) as pool:
        alone = list(pool.map(lambda pair: measure([pair[0]], [pair[1]]), zip(photos, boxes, strict=True)))
    for name, values in together.images.items():
        np.testing.assert_array_equal(values, np.concatenate([item.images[name] for item in alone]))
    for name, values in together.objects.items():
        np.testing.assert_array_equal(values, np.concatenate([item.objects[name] for item in alone]))


def test_every_attribute_is_measured() -> None:
    measured = measure([scene(0)], [np.array([[0.0, 0, 50, 50]])])
    assert {**measured.images, **measured.objects}.keys() == ATTRIBUTES.keys()
    nothing = measure([])
    assert all(len(values) == 0 for values in (*nothing.images.values(), *nothing.objects.values()))


def test_only_what_is_asked_for_is_measured(tmp_path: Path) -> None:
    photo, boxes = scene(0), [np.array([[0.0, 0, 50, 50]])]
    everything = measure([photo], boxes)
    some = measure([photo], boxes, names={"object_size", "haze", "brightness"})
    assert [*some.images] == ["brightness", "haze"]
    assert [*some.objects] == ["object_size"]
    assert some.images["haze"] == everything.images["haze"]
    assert measure([photo], boxes, names=[]).images == {}
    save(tmp_path / "one.png", photo)
    frame = tag(tmp_path, names=["haze", "brightness"])
    assert frame.columns[9:] == ["brightness", "haze"]
    assert frame["haze"].to_list() == some.images["haze"].tolist()
    with pytest.raises(ValueError, match=r"got 'hase', 'fog'; there are brightness, .*truncation"):
        measure([photo], names=["haze", "hase", "fog"])
    with pytest.raises(ValueError, match="expected names of attributes, got 'haze'"):
        measure([photo], names="haze")
    with pytest.raises(ValueError, match="expected names of image attributes, got 'object_size'"):
        tag(tmp_path, names=["object_size"])


def test_photos_are_left_as_they_were() -> None:
    photo = scene(1)
    before = photo.copy()
    photo.setflags(write=False)
    measure([photo], [np.array([[0.0, 0, 50, 50]])])
    np.testing.assert_array_equal(photo, before)


def test_tag_a_folder(tmp_path: Path) -> None:
    count = 2 * BATCH_SIZE + 3
    for index in range(count):
        save(tmp_path / f"sub {index % 3}/Foto_ü{index:02d}.{'png' if index % 2 else 'jpg'}", scene(index))
    (tmp_path / "sub 0/broken.jpg").write_bytes(b"no photo at all" * 40)
    (tmp_path / "empty.PNG").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("not a photo")
    seen: list[tuple[int, int]] = []
    frame = tag(tmp_path, workers=3, progress=lambda done, total: seen.append((done, total)))
    assert frame.height == count + 2
    assert frame["image_id"].to_list() == sorted(frame["image_id"])
    assert frame["image_id"].str.starts_with("sub 0/Foto_ü").any()
    status = dict(frame.select("image_id", "status").iter_rows())
    assert status.pop("empty.PNG") == "photo_empty"
    assert status.pop("sub 0/broken.jpg") == "photo_unreadable"
    assert set(status.values()) == {"ok"}
    assert frame.columns[:9] == [
        *("image_id", "status", "width", "height", "exif_orientation"),
        *("captured_at", "camera", "focal_length", "sha256"),
    ]
    assert frame.columns[9:] == IMAGE
    assert seen[-1] == (count + 2, count + 2)
    bad = frame.filter(frame["status"] != "ok").drop("image_id", "status")
    assert all(value is None for row in bad.iter_rows() for value in row)
    assert not any(frame[name].is_nan().any() for name in IMAGE)
    assert frame.equals(tag(tmp_path, workers=1))


def test_tag_values_equal_measure(tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    for index, path in enumerate(paths):
        save(path, scene(index))
    frame = tag([*paths, tmp_path / "absent.png"])
    assert frame["status"].to_list() == ["ok", "ok", "ok", "photo_missing"]
    expected = measure([scene(index) for index in range(3)]).images
    for name in IMAGE:
        np.testing.assert_array_equal(frame[name][:3].fill_null(np.nan).to_numpy(), expected[name])


def test_pitch_takes_the_focal_length_from_exif(tmp_path: Path, shared_data: Path) -> None:
    """The middle of a photo is what a longer lens sees: without its focal length, the same lines look steeper."""
    part = 0.6
    with (shared_data / "york/ground_truth.csv").open() as table:
        rows = {row["image"]: row for row in csv.DictReader(table)}
    for name, row in rows.items():
        if abs(float(row["pitch_up_deg"])) < 3:
            continue
        photo = Image.open(shared_data / f"york/{name}.jpg")
        width, height = round(part * photo.width), round(part * photo.height)
        left, top = (photo.width - width) // 2, (photo.height - height) // 2
        # The surveyed focal length, in whole millimetres on film, as cameras write it.
        film = round(float(row["focal_px"]) / np.hypot(width, height) * 43.27)
        told = Image.Exif()
        told.get_ifd(0x8769).update({0xA405: film, 0xA002: 4 * width, 0xA003: 4 * height})
        middle = photo.crop((left, top, left + width, top + height))
        middle.save(tmp_path / f"{name}_told.jpg", exif=told, quality=95)
        middle.save(tmp_path / f"{name}_bare.jpg", quality=95)
    frame = tag(tmp_path).drop_nulls("pitch")
    errors: dict[str, dict[str, float]] = {"told": {}, "bare": {}}
    for image_id, value in frame.select("image_id", "pitch").iter_rows():
        name, kind = image_id.removesuffix(".jpg").split("_")
        errors[kind][name] = abs(value - float(rows[name]["pitch_up_deg"]))
    both = errors["told"].keys() & errors["bare"].keys()
    assert len(both) >= 8
    told, bare = (np.array([errors[kind][name] for name in sorted(both)]) for kind in ("told", "bare"))
    assert np.median(told) <= 1.5
    assert np.median(bare) >= 1.5 * np.median(told)


def test_tag_one_file_and_nothing(tmp_path: Path) -> None:
    save(tmp_path / "one.jpg", scene(0))
    assert tag(tmp_path / "one.jpg")["image_id"].to_list() == ["one.jpg"]
    (tmp_path / "none").mkdir()
    assert tag(tmp_path / "none").shape == (0, 9 + len(IMAGE))
    with pytest.raises(FileNotFoundError, match="absent"):
        tag(tmp_path / "absent")


def test_links_to_nothing_and_names_of_other_bytes_are_rows(tmp_path: Path) -> None:
    save(tmp_path / "whole.png", scene(0))
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "away.jpg")
    odd = os.path.join(os.fsencode(tmp_path), b"odd\xff.png")
    try:
        shutil.copy(tmp_path / "whole.png", odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    frame = tag(tmp_path, names=["brightness"])
    assert frame["image_id"].to_list() == ["gone.jpg", "odd\\xff.png", "whole.png"]
    assert frame["status"].to_list() == ["photo_missing", "ok", "ok"]


def test_public_names() -> None:
    assert sorted(attributes.__all__) == sorted(set(attributes.__all__))
    assert all(hasattr(attributes, name) for name in attributes.__all__)


def test_import_is_light() -> None:
    """Importing loads the arrays and the decoders that every photo needs, and no other package: 0.2 s, measured by
    the benchmark of speed."""
    code = "import sys; before = set(sys.modules); import attributes; print(*set(sys.modules) - before)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    packages = {name.split(".")[0] for name in loaded if "cython" not in name} - set(sys.stdlib_module_names)
    assert packages == {"attributes", "cv2", "numpy", "simplejpeg"}
