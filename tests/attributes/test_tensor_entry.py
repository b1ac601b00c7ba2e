"""The entry for tensors: all photometric attributes of a batch, from pixels and from files."""

import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from attributes import ATTRIBUTES, DecodeError, measure, tag
from attributes.tensors import jpeg
from attributes.tensors.measure import PHOTOMETRIC, photometric, photometric_of_arrays
from attributes.tensors.stream import stream

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")],
    ),
]

SIZES = [(96, 128), (240, 320), (96, 128), (128, 96), (700, 500), (240, 320)]


def scene(seed: int, height: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (6, 8, 3)).astype(np.float32)
    photo = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (photo + generator.normal(0, 5, photo.shape)).clip(0, 255).astype(np.uint8)


def photos() -> list[np.ndarray]:
    return [scene(seed, *size) for seed, size in enumerate(SIZES)]


def files() -> list[bytes]:
    return [cv2.imencode(".jpg", photo[..., ::-1])[1].tobytes() for photo in photos()]


def tensors(device: str) -> list[torch.Tensor]:
    return [torch.from_numpy(photo).permute(2, 0, 1).to(device) for photo in photos()]


def test_photometric_is_every_image_attribute_but_those_of_lines_and_layout_of_colours() -> None:
    image = [name for name, attribute in ATTRIBUTES.items() if attribute.level == "image"]
    assert [*PHOTOMETRIC] == [name for name in image if name not in ("rotation", "roll", "pitch")]


@pytest.mark.parametrize("device", DEVICES)
def test_photos_of_several_sizes_come_out_in_their_order(device: str) -> None:
    found = photometric(tensors(device))
    expected = measure(photos(), names=[*PHOTOMETRIC]).images
    assert [*found] == [*expected]
    for name, values in found.items():
        assert values.dtype == torch.float64
        assert values.device.type == device
        np.testing.assert_allclose(values.cpu(), expected[name], atol=1e-3)
    assert np.isfinite(expected["sharpness"]).sum() > 3


@pytest.mark.parametrize("device", DEVICES)
def test_a_photo_does_not_depend_on_its_batch(device: str) -> None:
    together = photometric(tensors(device))
    for index, photo in enumerate(tensors(device)):
        alone = photometric(photo[None])
        for name, values in alone.items():
            torch.testing.assert_close(values[0], together[name][index], rtol=0, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("device", DEVICES)
def test_measure_and_tag_take_a_device(device: str, tmp_path: Path) -> None:
    boxes = [np.array([[5.0, 5, 60, 70]])] * len(SIZES)
    found, expected = measure(photos(), boxes, device=device), measure(photos(), boxes)
    assert [*found.images] == [*expected.images]
    for name in expected.images:
        np.testing.assert_allclose(found.images[name], expected.images[name], atol=1e-3)
    for name in expected.objects:
        np.testing.assert_array_equal(found.objects[name], expected.objects[name])
    for index, file in enumerate(files()):
        (tmp_path / f"{index}.jpg").write_bytes(file)
    (tmp_path / "broken.jpg").write_bytes(files()[0][:200])
    on_tensors, on_arrays = tag(tmp_path, workers=2, device=device), tag(tmp_path, workers=2)
    assert on_tensors.columns == on_arrays.columns
    assert on_tensors["status"].to_list() == on_arrays["status"].to_list()
    for name in PHOTOMETRIC:
        values, wanted = (frame[name].fill_null(np.nan).to_numpy() for frame in (on_tensors, on_arrays))
        np.testing.assert_allclose(values, wanted, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.filterwarnings("ignore:The image decoding and encoding:DeprecationWarning")
def test_a_stream_of_files_comes_out_in_its_order(device: str) -> None:
    parts = [files()[:2], [], files()[2:]]
    found = [*stream(iter(parts), torch.device(device), workers=2, names=["brightness", "layout"])]
    assert [len(part["layout"]) for part in found] == [2, 0, 4]
    expected = measure(photos(), names=["brightness", "layout"]).images
    for name, values in expected.items():
        np.testing.assert_allclose(np.concatenate([part[name] for part in found]), values, atol=0.01)


def test_files_are_decoded_as_on_the_cpu_and_damaged_ones_told() -> None:
    decoded = jpeg.decode_jpegs(files(), torch.device("cpu"))
    for tensor, file in zip(decoded, files(), strict=True):
        expected = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR_RGB)
        np.testing.assert_array_equal(tensor.permute(1, 2, 0), expected)
    with pytest.raises(DecodeError, match="whole JPEG"):
        jpeg.decode_jpegs([files()[0][:400]], torch.device("cpu"))


def test_the_gpu_decoder_is_torchcodecs_where_it_reads_photos_else_torchvisions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, str, str]] = []

    def decode_jpeg(files: list[torch.Tensor], *, mode: str, device: str) -> list[torch.Tensor]:
        asked.append((len(files), mode, device))
        return files

    codec = types.SimpleNamespace(decode_jpeg=decode_jpeg)
    for installed, expected in ((codec, True), (types.SimpleNamespace(), False)):
        jpeg.gpu_decoder.cache_clear()
        monkeypatch.setitem(sys.modules, "torchcodec", types.ModuleType("torchcodec"))
        monkeypatch.setitem(sys.modules, "torchcodec.decoders", installed)
        decoder = jpeg.gpu_decoder()
        assert decoder is not None
        if expected:
            decoder([torch.zeros(3)], "cuda:1")
            assert asked == [(1, "RGB", "cuda:1")]
    jpeg.gpu_decoder.cache_clear()


def test_nothing_and_what_makes_no_sense() -> None:
    assert {name: len(values) for name, values in photometric([]).items()} == dict.fromkeys(PHOTOMETRIC, 0)
    assert photometric(torch.empty(0, 3, 48, 64, dtype=torch.uint8))["noise"].shape == (0,)
    assert photometric_of_arrays([], torch.device("cpu"))["haze"].shape == (0,)
    assert photometric_of_arrays(photos(), torch.device("cpu"), names=[]) == {}
    with pytest.raises(ValueError, match=r"got 'roll'; there are brightness, .*layout"):
        photometric([], names=["haze", "roll"])
    with pytest.raises(ValueError, match=r"expected photo 1 as a \(3, H, W\) tensor, got \(4, 4\)"):
        photometric([torch.zeros(3, 4, 4, dtype=torch.uint8), torch.zeros(4, 4, dtype=torch.uint8)])


def test_arrays_need_no_torch() -> None:
    code = (
        "import sys, numpy as np, attributes; attributes.measure([np.zeros((64, 64, 3), np.uint8)]); "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
