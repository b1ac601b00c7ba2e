import argparse
import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from xai.detect import checkpoints
from xai.exceptions import DetectorError


def nothing(name: str) -> None:
    return None


def layers(name: str) -> type | None:
    return {"torch.nn.modules.linear.Linear": nn.Linear, "torch.nn.modules.container.Sequential": nn.Sequential}.get(
        name
    )


class Exploit:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.marker,))


class Loss:
    """What a framework keeps beside its model, not a module."""

    def __init__(self, gain: float) -> None:
        self.gain = gain


class Constructed:
    """Pickles as a call of the constructor of an allowed class."""

    def __init__(self, known: type = nn.Linear) -> None:
        self.known = known

    def __reduce__(self) -> tuple[object, ...]:
        return (self.known, (2, 3))


def test_plain_values_and_tensors(tmp_path: Path) -> None:
    saved = {"state_dict": OrderedDict(a=torch.ones(2)), "names": ["x"], "metric": np.float64(0.5)}
    torch.save(saved, tmp_path / "plain.pt")
    loaded = checkpoints.read(tmp_path / "plain.pt", allow=nothing, trust=False)
    assert loaded["names"] == ["x"]
    assert loaded["metric"] == 0.5
    assert torch.equal(loaded["state_dict"]["a"], torch.ones(2))


def test_modules_come_back_as_their_own_class(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    torch.save({"model": model}, tmp_path / "model.pt")
    loaded = checkpoints.read(tmp_path / "model.pt", allow=layers, trust=False)["model"]
    assert type(loaded) is nn.Sequential
    assert [type(layer) for layer in loaded] == [nn.Linear, nn.Linear]
    inputs = torch.rand(4, 2)
    assert torch.equal(loaded(inputs), model(inputs))


def test_code_is_refused_with_the_reason_and_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "was-run"
    torch.save({"model": Exploit(marker)}, tmp_path / "evil.pt")
    with pytest.raises(DetectorError, match=r"refused.*pathlib.*trust_checkpoint: true"):
        checkpoints.read(tmp_path / "evil.pt", allow=layers, trust=False)
    assert not marker.exists()
    checkpoints.read(tmp_path / "evil.pt", allow=layers, trust=True)
    assert marker.exists()


def test_constructors_of_allowed_classes_are_not_called(tmp_path: Path) -> None:
    torch.save({"model": Constructed()}, tmp_path / "constructor.pt")
    with pytest.raises(DetectorError, match=r"refused: it calls the constructor of torch.nn.modules.linear.Linear"):
        checkpoints.read(tmp_path / "constructor.pt", allow=layers, trust=False)


def test_other_allowed_objects_are_filled_in_but_not_constructed(tmp_path: Path) -> None:
    def losses(name: str) -> type | None:
        return Loss if name == f"{Loss.__module__}.Loss" else None

    torch.save({"loss": Loss(0.5), "arguments": argparse.Namespace(epochs=3)}, tmp_path / "loss.pt")
    allowed = {"argparse.Namespace": argparse.Namespace}
    loaded = checkpoints.read(tmp_path / "loss.pt", allow=lambda name: losses(name) or allowed.get(name), trust=False)
    assert isinstance(loaded["loss"], Loss)
    assert loaded["loss"].gain == 0.5
    assert loaded["arguments"].epochs == 3
    torch.save({"loss": Constructed(Loss)}, tmp_path / "constructor.pt")
    with pytest.raises(DetectorError, match=r"refused: it calls the constructor of .*Loss"):
        checkpoints.read(tmp_path / "constructor.pt", allow=losses, trust=False)


@pytest.mark.parametrize("trust", [False, True])
def test_damaged_files_are_named(tmp_path: Path, trust: bool) -> None:
    path = tmp_path / "modèle.pt"
    with pytest.raises(DetectorError, match="found no such file"):
        checkpoints.read(path, allow=nothing, trust=trust)
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(100)}, buffer)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme.txt", "no checkpoint")
    for content in [b"", b"not a checkpoint", buffer.getvalue()[:300], archive.getvalue(), pickle.dumps([1])[:4]]:
        path.write_bytes(content)
        with pytest.raises(DetectorError, match=r"expected a PyTorch checkpoint .*modèle.pt"):
            checkpoints.read(path, allow=nothing, trust=trust)


def test_the_format_before_pytorch_1_6_is_named_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "old.pt"
    torch.save({"model": Exploit(tmp_path / "was-run")}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(DetectorError, match=r"before PyTorch 1\.6; if you made it, load it and save it again"):
        checkpoints.read(path, allow=nothing, trust=False)
    assert not (tmp_path / "was-run").exists()
