"""Reads checkpoints without running what is in them."""

from __future__ import annotations

import argparse
import contextlib
import functools
import pickle
import types
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch

from xai.exceptions import DetectorError

Allow = Callable[[str], type | None]
"""Names a class that a checkpoint may hold, given its dotted name; None refuses."""


def read(path: Path, *, allow: Allow, trust: bool) -> Any:
    """Read a checkpoint of tensors, plain values and objects of allowed classes.

    A checkpoint is a pickle, and a pickle may call anything that it can name. Here it may name the allowed classes
    only, and not even call those: the constructor of ``DetectionModel``, for one, evaluates text of its argument. An
    honest pickle of an object never needs the constructor, it creates an empty one and fills in the attributes. Only
    namespaces are called, which do nothing but hold what they are given.

    Args:
        path: file written by ``torch.save``.
        allow: which classes beyond tensors and plain values may be in it.
        trust: read it with the full pickle machinery, which runs whatever code the file asks for.

    Raises:
        DetectorError: no such file, not a checkpoint, or one that holds more than is allowed.
    """
    if not path.is_file():
        raise DetectorError(f"detector.weights: expected a checkpoint at {path}, found no such file")
    try:
        if trust:
            return torch.load(path, map_location="cpu", weights_only=False)
        names = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    classes = {name: _NUMPY.get(name) or allow(name) for name in names}
    refused = sorted(name for name, known in classes.items() if known is None)
    if refused:
        if any(name.startswith("ultralytics.") for name in refused) and allow(_YOLO) is None:
            raise DetectorError(
                f"{path} is a checkpoint of ultralytics, which this kind of detector does not read: "
                "set detector.kind: ultralytics"
            )
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        raise DetectorError(
            f"{path} is refused: it is a pickle that asks for {', '.join(refused[:3])}{more}, which is not among the "
            "framework's own classes and could run any code. If you made this file, set detector.trust_checkpoint: true"
        )
    entries: list[Any] = [(_stand_in(known), name) for name, known in classes.items() if known is not None]
    if "numpy.dtype" in classes:
        entries.extend(_NUMPY_DTYPES)
    try:
        with torch.serialization.safe_globals(entries):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except _ConstructorCalledError as error:
        raise DetectorError(
            f"{path} is refused: it calls the constructor of {error}, which no ordinary checkpoint does and which "
            "could run any code. If you made this file, set detector.trust_checkpoint: true"
        ) from error
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    _restore_classes(loaded)
    return loaded


_UNREADABLE = (RuntimeError, ValueError, EOFError, OSError, pickle.UnpicklingError, zipfile.BadZipFile, AttributeError)

_NUMPY: dict[str, Any] = {
    "numpy.dtype": np.dtype,
    "numpy.core.multiarray.scalar": np._core.multiarray.scalar,  # type: ignore[attr-defined]
    "numpy._core.multiarray.scalar": np._core.multiarray.scalar,  # type: ignore[attr-defined]
}
"""What a numpy number needs; training metrics are often kept as such."""

_NUMPY_DTYPES = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]


_YOLO = "ultralytics.nn.tasks.DetectionModel"
"""What every checkpoint of ultralytics holds and only its adapter allows."""


class _ConstructorCalledError(Exception):
    pass


@functools.cache
def _stand_in(known: Any) -> Any:
    """Return a subclass that can be filled in but not constructed; numpy's parts and namespaces as they are."""
    if known in _NUMPY.values() or issubclass(known, (types.SimpleNamespace, argparse.Namespace)):
        return known

    def refuse(self: object, *args: object, **kwargs: object) -> NoReturn:
        raise _ConstructorCalledError(f"{known.__module__}.{known.__qualname__}")

    return type(known.__name__, (known,), {"__init__": refuse, "_stands_for": known})


def _restore_classes(loaded: Any) -> None:
    """Give every module its own class back; losses and the like are not used and keep their stand-ins."""
    parts = loaded.values() if isinstance(loaded, dict) else [loaded]
    for part in parts:
        if isinstance(part, torch.nn.Module):
            for module in part.modules():
                module.__class__ = getattr(type(module), "_stands_for", type(module))


def _unreadable(path: Path, error: Exception) -> DetectorError:
    reason = " ".join(str(error).split())[:200]
    with contextlib.suppress(OSError), path.open("rb") as file:
        if file.read(1) == b"\x80":  # a bare pickle
            reason = "it is a pickle as torch.save wrote before PyTorch 1.6; if you made it, load it and save it again"
    return DetectorError(
        f"detector.weights: expected a PyTorch checkpoint (a file of torch.save) at {path}, could not read it: {reason}"
    )
