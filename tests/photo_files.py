"""Small photo files of every format, and files made by hand that no honest program writes."""

import io
import struct
import zlib

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import IFDRational


def noise(channels: int = 3, width: int = 17, height: int = 12, seed: int = 0, dtype: str = "uint8") -> np.ndarray:
    top = np.iinfo(dtype).max
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)


def picture(width: int = 40, height: int = 24, seed: int = 0) -> Image.Image:
    """Return a picture that is smooth, as photos are."""
    coarse = Image.fromarray(noise(3, width // 4, height // 4, seed))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif_of(**tags: object) -> Image.Exif:
    exif = Image.Exif()
    names = {"orientation": 0x0112, "make": 0x010F, "model": 0x0110}
    for name, number in names.items():
        if name in tags:
            exif[number] = tags[name]
    focal_length = IFDRational(tags["focal_length"]) if "focal_length" in tags else None
    inner = {0x9003: tags.get("taken"), 0x920A: focal_length}
    exif.get_ifd(0x8769).update({number: value for number, value in inner.items() if value is not None})
    return exif


def every_kind() -> dict[str, bytes]:
    """Return a file of 17 x 12 pixels of every format, colour mode and compression, turned by EXIF where it can be."""
    color, alpha, deep = Image.fromarray(noise(3)), Image.fromarray(noise(4)), Image.fromarray(noise(1, dtype="uint16"))
    exif = exif_of(orientation=6, make="Maker", model="Model X", taken="2007:03:09 17:45:01")
    files = {f"jpeg {mode}": encoded(color.convert(mode), exif=exif) for mode in ("RGB", "L", "CMYK")}
    files["jpeg progressive"] = encoded(color, progressive=True)
    files |= {f"png {mode}": encoded(color.convert(mode), "PNG", exif=exif) for mode in ("RGB", "L", "P", "1")}
    files |= {"png RGBA": encoded(alpha, "PNG"), "png 16": encoded(deep, "PNG")}
    modes = ("RGB", "L", "P", "1", "CMYK", "YCbCr", "LAB")
    files |= {f"tiff {mode}": encoded(color.convert(mode), "TIFF", exif=exif) for mode in modes}
    packed = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    files |= {f"tiff {name}": encoded(color, "TIFF", compression=name, exif=exif) for name in packed}
    files["tiff group4"] = encoded(color.convert("1"), "TIFF", compression="group4")
    files |= {"tiff RGBA": encoded(alpha, "TIFF"), "tiff 16": encoded(deep, "TIFF")}
    files |= {"webp": encoded(color, "WEBP", exif=exif), "webp RGBA": encoded(alpha, "WEBP", exif=exif)}
    files["webp lossless"] = encoded(color, "WEBP", lossless=True)
    files["webp animated"] = encoded(color, "WEBP", save_all=True, append_images=[color.rotate(180)], exif=exif)
    files |= {f"bmp {mode}": encoded(color.convert(mode), "BMP") for mode in ("RGB", "L", "P", "1")}
    return files


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, data: bytes, *, bits: int = 8, color: int = 0) -> bytes:
    """Return a PNG of any stated size around compressed rows."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), png_chunk(b"IDAT", data), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def huge_png(side: int = 30_000) -> bytes:
    """Return a whole and valid PNG of ``side`` x ``side`` black pixels of one bit: a file of some 100 KB."""
    packer = zlib.compressobj(1)
    rows = [packer.compress(bytes((side + 7) // 8 + 1) * 100) for _ in range(side // 100)]
    return png(side, side, b"".join([*rows, packer.flush()]), bits=1)


def tiff(tags: dict[int, tuple[int, ...]], pixels: bytes = b"", *, order: str = "<", more: int = 0) -> bytes:
    """Return a TIFF whose pixels begin at byte 8, with 32-bit tags as given; ``more`` is where the next page lies."""
    start = 8 + len(pixels) + len(pixels) % 2
    beyond = start + 6 + 12 * len(tags)
    entries, lists = b"", b""
    for tag, values in sorted(tags.items()):
        body = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            body, lists = struct.pack(f"{order}I", beyond + len(lists)), lists + body
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + body
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", start)
    directory = struct.pack(f"{order}H", len(tags)) + entries + struct.pack(f"{order}I", more) + lists
    return (head + pixels).ljust(start, b"\0") + directory


def gray_tiff(width: int = 4, height: int = 3, **changed: tuple[int, ...] | None) -> bytes:
    """Return a grey TIFF of one strip of 12 bytes; ``changed`` replaces tags (``t273``) or takes them out (None)."""
    tags: dict[int, tuple[int, ...]] = {
        **{256: (width,), 257: (height,), 258: (8,), 259: (1,), 262: (1,)},
        **{273: (8,), 277: (1,), 278: (height,), 279: (width * height,)},
    }
    for name, values in changed.items():
        tags.pop(int(name[1:]), None)
        if values is not None:
            tags[int(name[1:])] = values
    return tiff(tags, bytes(range(12)))


def bmp(width: int, height: int, rows: bytes = b"", *, bits: int = 24, packing: int = 0, palette: bytes = b"") -> bytes:
    """Return a BMP with a header of 40 bytes that states any size."""
    start = 54 + len(palette)
    head = b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, packing, len(rows), 0, 0, len(palette) // 4, 0)
    return head + info + palette + rows


def webp(kind: bytes, body: bytes) -> bytes:
    """Return a WebP of one chunk."""
    chunk = kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
