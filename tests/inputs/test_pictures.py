"""Pictures of each format: what is read looks right, and what is not whole is noted or refused. No child process."""

import io
import struct
import zlib
from typing import Any

import pytest
from PIL import Image, ImageCms

from testkit.inputs import photos
from testkit.inputs.files import read
from testkit.inputs.photos import CORNERS, drawn, is_like, saved
from tests.inputs.file_notes import file_notes
from worker.core.file_refusals import (
    FileCutOff,
    FileDamaged,
    FileRefused,
    FileTooLarge,
    NotADocument,
    PhotoFormatUnknown,
    TooManyPages,
)
from worker.documents.page import Note, Page
from worker.documents.pages import open_document
from worker.documents.pictures import source

MAX_PAGES = 5
WHITE, BLACK, YELLOW, GREY = (255, 255, 255), (0, 0, 0), (250, 240, 120), (128, 128, 128)
DRAWN = drawn()
KINDS: dict[str, tuple[str, dict[str, object]]] = {
    "JPEG": ("JPEG", {"quality": 90}),
    "progressive JPEG": ("JPEG", {"quality": 90, "progressive": True}),
    "JPEG with restarts": ("JPEG", {"quality": 90, "restart_marker_rows": 1}),
    "MPO": ("MPO", {"save_all": True, "append_images": [drawn(seed=2)]}),
    "PNG": ("PNG", {}),
    "APNG": ("PNG", {"save_all": True, "append_images": [drawn(seed=2)]}),
    "WebP": ("WEBP", {"quality": 90}),
    "lossless WebP": ("WEBP", {"lossless": True}),
    "animated WebP": ("WEBP", {"save_all": True, "append_images": [drawn(seed=2)], "quality": 90}),
    "AVIF": ("AVIF", {"quality": 90}),
    "animated AVIF": ("AVIF", {"save_all": True, "append_images": [drawn(seed=2)], "quality": 90}),
    "HEIC": ("HEIF", {"quality": 90}),
    "HEIC of tiles": ("HEIF", {"quality": 90, "tile_size": 128}),
    "TIFF": ("TIFF", {}),
    "TIFF with LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF with Deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF with JPEG": ("TIFF", {"compression": "jpeg", "quality": 90}),
    "TIFF with PackBits": ("TIFF", {"compression": "packbits"}),
    "BigTIFF": ("TIFF", {"big_tiff": True}),
    "GIF": ("GIF", {}),
    "animated GIF": ("GIF", {"save_all": True, "append_images": [drawn(seed=2)]}),
    "BMP": ("BMP", {}),
}


def made(name: str, picture: Image.Image = DRAWN, **options: object) -> bytes:
    kind, kept = KINDS[name]
    return saved(picture, kind, **{**kept, **options})


def pages(content: bytes) -> list[Page]:
    return [*open_document(content, MAX_PAGES).pages]


def only(content: bytes) -> Image.Image:
    """Return the only page, which has no notes."""
    (page,) = pages(content)
    assert file_notes(page) == ()
    return read(page.picture)


def refusal_of(content: bytes) -> type[FileRefused]:
    with pytest.raises(FileRefused) as refused:
        pages(content)
    return refused.type


def assert_right(page: Image.Image, meant: Image.Image = DRAWN) -> None:
    assert photos.corners(page) == [*CORNERS]
    assert is_like(page, meant)


# The bytes are believed


@pytest.mark.parametrize("name", KINDS)
def test_each_format_is_read(name: str) -> None:
    """The page is the picture, or the first one of several, upright, in its colours and complete."""
    page = only(made(name))
    assert page.size == DRAWN.size
    assert_right(page)


@pytest.mark.parametrize("name", ["WebP", "AVIF", "HEIC", "TIFF", "PNG"])
@pytest.mark.parametrize("number", range(2, 9))
def test_a_turned_picture_becomes_upright_once(name: str, number: int) -> None:
    """Each of the eight turns is undone, once, also by the formats whose decoders turn by themselves."""
    turned = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    picture, exif = DRAWN.transpose(turned[number]), photos.orientation(number)
    page = only(photos.turned_heic(picture, exif) if name == "HEIC" else made(name, picture, exif=exif))
    assert page.size == DRAWN.size
    assert_right(page)


@pytest.mark.parametrize("name", ["TIFF", "TIFF with LZW", "TIFF with JPEG"])
def test_each_frame_of_a_tiff_is_a_page(name: str) -> None:
    """The frames are in their order and each has its own size. More than the limit are refused."""
    frames = [drawn((240 + 40 * number, 320), seed=number) for number in range(4)]
    content = made(name, frames[0], save_all=True, append_images=frames[1:])
    found = [read(page.picture) for page in pages(content)]
    assert [page.size for page in found] == [frame.size for frame in frames]
    for page, frame in zip(found, frames, strict=True):
        assert_right(page, frame)
    assert refusal_of(made(name, frames[0], save_all=True, append_images=frames[1:] * 2)) is TooManyPages


def tiff_of_three(**options: object) -> tuple[bytes, list[int]]:
    """Three pages, and the places of their descriptions."""
    content = saved(DRAWN, "TIFF", save_all=True, append_images=[drawn(seed=2), drawn(seed=3)], **options)
    (at,) = struct.unpack_from("<I", content, 4)
    places = []
    while at:
        places.append(at)
        (entries,) = struct.unpack_from("<H", content, at)
        (at,) = struct.unpack_from("<I", content, at + 2 + 12 * entries)
    return content, places


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "jpeg", "tiff_adobe_deflate"])
@pytest.mark.parametrize("damage", [b"\xff\xff", b"\0\0", b"\2\0" + bytes(60)], ids=["many entries", "no entry", "zeros"])
def test_a_tiff_page_whose_description_is_broken_is_missing(compression: str, damage: bytes) -> None:
    """The page before is read, and what cannot be found is one missing page: neither blank, nor left out, nor a lost document."""
    content, places = tiff_of_three(compression=compression)
    at = places[2]
    broken = content[:at] + damage + content[at + len(damage) :]
    try:
        first, second, third = open_document(broken, MAX_PAGES).pages
    except FileCutOff:
        assert compression == "raw"  # its descriptions stand before the data, so many entries point to no page
        return
    assert Note.PAGE_MISSING in third.notes
    assert_right(read(first.picture))
    assert is_like(read(second.picture), drawn(seed=2))


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "group4"])
def test_a_tiff_that_ends_before_the_description_of_a_page_is_cut_off(compression: str) -> None:
    """Nothing tells how many pages are missing, so the file is to be handed in again."""
    fax = {"compression": compression}
    content = (
        saved(DRAWN.convert("1"), "TIFF", save_all=True, append_images=[drawn(seed=2).convert("1")], **fax)
        if compression == "group4"
        else tiff_of_three(**fax)[0]
    )
    with pytest.raises(FileCutOff):
        list(open_document(content[: len(content) * 6 // 10], MAX_PAGES).pages)


def test_a_tiff_page_without_data_is_missing() -> None:
    """The decoder leaves it white or black without an error, and it is not a blank page."""
    content, places = tiff_of_three(compression="tiff_lzw")
    entry = next(at for at in range(places[1] + 2, len(content), 12) if content[at : at + 2] == struct.pack("<H", 273))
    pages = [*open_document(content[:entry] + struct.pack("<H", 60000) + content[entry + 2 :], MAX_PAGES).pages]
    assert [Note.PAGE_MISSING in page.notes for page in pages] == [False, True, False]


def test_a_preview_in_a_tiff_is_no_page() -> None:
    """Only the frame that is declared as the reduced copy is left out."""
    preview = photos.tiff_with_tags(drawn((48, 64)), tag_254=1)
    assert refusal_of(preview) is PhotoFormatUnknown
    assert_right(only(photos.tiff_with_tags(DRAWN, tag_254=0)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"])
def test_a_tiff_of_any_mode_is_read(mode: str) -> None:
    """Each keeps light and dark. Colours stay where the mode has them."""
    if mode in {"I;16", "I", "F"}:
        scale = 1 / 255 if mode == "F" else 257
        source = DRAWN.convert("L").convert("I" if mode != "F" else "F").point(lambda value: value * scale + 0.0)
        picture = source.convert("I;16") if mode == "I;16" else source
    elif mode == "LAB":
        srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        picture = ImageCms.profileToProfile(DRAWN, srgb, lab, outputMode="LAB") or DRAWN
    else:
        picture = DRAWN.convert(mode, dither=Image.Dither.NONE)
    page = only(saved(picture, "TIFF"))
    grey = mode in {"1", "L", "LA", "I;16", "I", "F"}
    assert is_like(page, picture if mode == "1" else DRAWN.convert("L") if grey else DRAWN)
    assert grey or photos.corners(page) == [*CORNERS]


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_is_read(compression: str) -> None:
    """One bit per pixel, black on white, in each of the three codings of faxes."""
    fax = DRAWN.convert("1", dither=Image.Dither.NONE)
    assert is_like(only(saved(fax, "TIFF", compression=compression)), fax)


def test_a_heic_of_10_bits_is_read() -> None:
    """As HDR phones take them. The colours are scaled to 8 bits."""
    import pillow_heif

    deep = b"".join(struct.pack("<H", value * 257) for value in DRAWN.tobytes())
    target = io.BytesIO()
    pillow_heif.encode("RGB;16", DRAWN.size, deep, target, quality=90)
    assert_right(only(target.getvalue()))


def test_the_primary_picture_of_a_heic_is_read() -> None:
    """Not the first one, if the file says so."""
    other = Image.new("RGB", (320, 320), "grey")
    assert_right(only(saved(other, "HEIF", save_all=True, append_images=[DRAWN], primary_index=1, quality=90)))


UNKNOWN = {
    "raw photo as DNG": photos.tiff_with_tags(drawn((96, 128)), tag_254=0, tag_50706=0x01040000),
    "raw photo of a sensor": b"II*\0\x08\0\0\0\x01\0\x06\x01\x03\0\x01\0\0\0\x23\x80\0\0\0\0\0\0",
    "raw photo of Canon": b"II*\0\x10\0\0\0CR\x02\0" + bytes(64),
    "raw photo of Canon, newer": b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(64),
    "raw photo of Fujifilm": b"FUJIFILMCCD-RAW 0201" + bytes(64),
    "raw photo of Panasonic": b"IIU\0\x18\0\0\0" + bytes(64),
    "film of an iPhone": b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(64),
    "film as MP4": b"\0\0\0\x18ftypmp42\0\0\0\0isommp42" + bytes(64),
    "old film": b"\0\0\0\x08wide\0\0\x10\0mdat" + bytes(64),
    "film as WebM": b"\x1aE\xdf\xa3" + bytes(64),
    "film as AVI": b"RIFF\x24\0\0\0AVI LIST" + bytes(64),
    "Photoshop": b"8BPS\0\x01" + bytes(64),
    "JPEG XL": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(64),
    "JPEG XL, bare": b"\xff\x0a" + bytes(64),
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64),
    "SVG": b'<?xml version="1.0"?>\n<!-- a --><svg xmlns="http://www.w3.org/2000/svg"/>',
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_a_picture_of_another_format_is_named_as_such(name: str) -> None:
    """The pupil hears that it is a photo in a format that cannot be read. No preview is taken for the photo."""
    assert refusal_of(UNKNOWN[name]) is PhotoFormatUnknown


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><html><body>404 <svg></svg></body></html>",
        b"BM is the beginning of a text",
        b"RIFF\x24\0\0\0WAVEfmt " + bytes(64),
        b"II",
        b"GIF",
        b"PK\x03\x04" + bytes(64),
    ],
)
def test_what_is_no_picture_is_no_document(content: bytes) -> None:
    """An error page of a web server that was saved as .jpg is none either."""
    assert refusal_of(content) is NotADocument


# Nothing personal leaves


@pytest.mark.parametrize("name", ["JPEG", "MPO", "PNG", "WebP", "AVIF", "HEIC", "TIFF", "GIF"])
def test_no_metadata_leaves(name: str) -> None:
    """Neither a name in EXIF, XMP, text chunks and comments, nor a place, nor a colour profile is in the page."""
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>' + photos.SECRET + b"</a></x:xmpmeta>"
    options: dict[str, Any] = {"exif": photos.personal(), "xmp": xmp, "comment": photos.SECRET}
    if name == "PNG":
        options |= {"pnginfo": photos.png_text(), "comment": photos.SECRET.decode()}
    content = made(name, **options)
    assert photos.SECRET in content
    (page,) = pages(content)
    assert photos.SECRET not in page.picture
    assert {*read(page.picture).info} <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert_right(read(page.picture))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "AVIF", "HEIC", "TIFF"])
def test_a_colour_profile_is_applied(name: str) -> None:
    """The profile of the test exchanges red and green, so the corners tell whether it was applied, and the page has none."""
    page = only(made(name, icc_profile=photos.wide_gamut_profile()))
    assert photos.corners(page)[:2] == ["top right", "top left"]
    assert "icc_profile" not in page.info


@pytest.mark.parametrize("profile", [b"broken", ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()])
def test_a_useless_colour_profile_is_passed_over(profile: bytes) -> None:
    """A broken one, and one of another colour space."""
    assert_right(only(made("JPEG", icc_profile=profile)))


# Size


@pytest.mark.parametrize("name", ["JPEG", "progressive JPEG", "TIFF with LZW", "GIF"])
def test_a_photo_of_48_megapixels_is_read(name: str) -> None:
    """It is reduced to what is kept, and looks the same."""
    source = DRAWN.convert("P") if name == "GIF" else DRAWN  # because Pillow counts the colours of a large picture wrongly
    large = source.resize((6000, 8000), Image.Resampling.NEAREST)
    page = only(made(name, large))
    assert page.size == (1200, 1600)
    assert_right(page, DRAWN)


def test_a_photo_of_200_megapixels_is_read() -> None:
    """The decoder reduces a JPEG while it reads."""
    grey = DRAWN.convert("L")
    page = only(made("JPEG", grey.resize((12_240, 16_320), Image.Resampling.NEAREST)))
    assert page.size == (1200, 1600)
    assert is_like(page, grey)


@pytest.mark.parametrize("name", ["PNG", "WebP", "AVIF", "HEIC", "TIFF", "GIF", "BMP", "progressive JPEG"])
def test_what_would_not_fit_is_refused_by_its_header(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a pixel is decoded. Each format has its own measure of memory."""
    content = made(name)
    monkeypatch.setattr(source, "MEMORY_BYTES", 3 * len(content) + 200_000)
    assert refusal_of(content) is FileTooLarge


# Damage beside the picture

APP1 = photos.jpeg_segment(0xE1, b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(40))
HARMLESS = {
    "JPEG with broken EXIF": photos.with_segment(made("JPEG"), APP1),
    "JPEG with a broken profile": photos.with_segment(made("JPEG"), photos.jpeg_segment(0xE2, b"ICC_PROFILE\0\x01\x01broken")),
    "JPEG with a broken index of pictures": photos.with_segment(made("JPEG"), photos.jpeg_segment(0xE2, b"MPF\0broken")),
    "JPEG with a broken Photoshop segment": photos.with_segment(
        made("JPEG"), photos.jpeg_segment(0xED, b"Photoshop 3.0\x008BIM\xff")
    ),
    "JPEG without its end marker": made("JPEG")[:-2],
    "JPEG with bytes after its end": made("JPEG") + b"appended" * 1000,
    "JPEG with zeros after its end": made("JPEG") + bytes(5000),
    "JPEG with a gap between its segments": made("JPEG")[:20] + bytes(7) + made("JPEG")[20:],
    "MPO with half a second picture": made("MPO")[: len(made("JPEG")) + 3000],
    "PNG with a wrong checksum of text": photos.png_of(
        [photos.in_pieces(made("PNG"))[0], (b"tEXt", b"comment\0a"), *photos.in_pieces(made("PNG"))[1:]], unsound=1
    ),
    "PNG with a broken profile": photos.png_of(
        [photos.in_pieces(made("PNG"))[0], (b"iCCP", b"a\0\0broken"), *photos.in_pieces(made("PNG"))[1:]]
    ),
    "PNG with broken EXIF": photos.png_of(
        [photos.in_pieces(made("PNG"))[0], (b"eXIf", b"MM\0*\xff\xff\xff\xff"), *photos.in_pieces(made("PNG"))[1:]]
    ),
    "PNG without its end": made("PNG")[:-12],
    "PNG with bytes after its end": made("PNG") + b"appended" * 1000,
    "PNG with a wrong checksum of sound data": photos.png_of(photos.in_pieces(made("PNG")), unsound=10),
    "WebP with cut metadata": made("WebP", exif=photos.personal())[:-40],
    "WebP with bytes after its end": made("WebP") + b"appended" * 1000,
    "WebP with broken EXIF": made("WebP", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"),
    "AVIF with broken EXIF": made("AVIF", exif=photos.personal()).replace(b"MM\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff"),
    "AVIF with bytes after its end": made("AVIF") + b"appended" * 1000,
    "HEIC with broken EXIF": made("HEIC", exif=photos.personal()).replace(b"MM\0*\0\0\0\x08", b"MM\0*\xff\xff\xff\xff"),
    "HEIC with bytes after its end": made("HEIC") + b"appended" * 1000,
    "GIF without its end": made("GIF")[:-1],
    "BMP with bytes after its end": made("BMP") + b"appended" * 1000,
    "TIFF with bytes after its end": made("TIFF with LZW") + b"appended" * 1000,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_damage_beside_a_whole_picture_is_harmless(name: str) -> None:
    """The picture is read, without a note."""
    assert_right(only(HARMLESS[name]))


# Damage of the picture


def without_part(content: bytes, at: float, share: float) -> bytes:
    start = int(len(content) * at)
    return content[:start] + content[start + int(len(content) * share) :]


def zeroed(content: bytes, at: float, share: float = 1) -> bytes:
    start = int(len(content) * at)
    end = min(len(content), start + int(len(content) * share))
    return content[:start] + bytes(end - start) + content[end:]


CUTTABLE = ["JPEG", "JPEG with restarts", "PNG", "TIFF", "GIF", "BMP"]
TALL = drawn((1400, 3200))


@pytest.mark.parametrize("name", CUTTABLE)
def test_a_nearly_whole_picture_is_read_and_noted(name: str) -> None:
    """Without its last hundredths. The missing rows are white, and all others are right."""
    content = made(name, TALL)
    content = content[: int(len(content) * (0.99 if name == "GIF" else 0.98))]
    (page,) = pages(content)
    seen, upside_down = read(page.picture), name == "BMP"
    meant = TALL.resize(seen.size)
    there = (0, 80, *seen.size) if upside_down else (0, 0, seen.width, seen.height - 80)
    edge = (0, 0, seen.width, 4) if upside_down else (0, seen.height - 4, *seen.size)
    assert file_notes(page) == (Note.INCOMPLETE,)
    assert is_like(seen.crop(there), meant.crop(there))
    assert is_like(seen.crop(edge), Image.new("RGB", (seen.width, 4), WHITE))


@pytest.mark.parametrize("name", [*CUTTABLE, "WebP", "lossless WebP", "AVIF", "HEIC", "HEIC of tiles", "MPO"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_file_that_is_cut_off_is_refused_as_such(name: str, share: float) -> None:
    """No grey, green or black half of a page is read. The pupil hears that the upload was cut off."""
    content = made(name)
    content = content[: int((len(content) // 2 if name == "MPO" else len(content)) * share)]
    assert refusal_of(content) in {FileCutOff, *([FileDamaged] if share < 0.1 else [])}


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_a_progressive_jpeg_that_is_cut_off_is_refused(share: float) -> None:
    """It would be coarse or without colours."""
    content = made("progressive JPEG")
    assert refusal_of(content[: int(len(content) * share)]) is FileCutOff


@pytest.mark.parametrize("share", [0.8, 0.97])
def test_a_progressive_jpeg_without_its_finest_details_is_read_and_noted(share: float) -> None:
    """All rows are there, and the eye sees no difference."""
    content = made("progressive JPEG")
    (page,) = pages(content[: int(len(content) * share)])
    assert file_notes(page) == (Note.INCOMPLETE,)
    assert_right(read(page.picture))


@pytest.mark.parametrize("name", ["JPEG", "PNG", "WebP", "lossless WebP", "AVIF", "HEIC", "HEIC of tiles", "GIF"])
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_an_upload_that_was_filled_with_zeros_is_cut_off(name: str, share: float) -> None:
    """Decoders take zeros for grey or black, and report nothing."""
    assert refusal_of(zeroed(made(name), share)) is FileCutOff


@pytest.mark.parametrize("name", ["JPEG", "PNG", "GIF", "TIFF with LZW"])
def test_a_file_with_a_hole_is_damaged(name: str) -> None:
    """Its end is there, and a quarter of its picture is not."""
    assert refusal_of(without_part(made(name), 0.4, 0.25)) in {FileDamaged, FileCutOff}


@pytest.mark.parametrize("name", ["JPEG", "JPEG with restarts", "PNG", "WebP", "AVIF", "HEIC", "HEIC of tiles", "GIF"])
@pytest.mark.parametrize("at", [0.3, 0.5])
def test_a_block_that_never_came_is_damage(name: str, at: float) -> None:
    """A few thousand zeros in the middle of packed data, whose end is there. Decoders lose their place and report nothing."""
    content = made(name)
    assert refusal_of(zeroed(content, at, 0.1)) in {FileDamaged, FileCutOff}


@pytest.mark.parametrize("size", [(1500, 2000), (3000, 4000)])
@pytest.mark.parametrize("name", ["WebP", "AVIF", "HEIC", "progressive JPEG", "TIFF with LZW"])
def test_white_paper_with_a_line_of_writing_is_read(name: str, size: tuple[int, int]) -> None:
    """Its data has runs of zeros in some formats, and they are no missing part."""
    paper = Image.new("RGB", size, WHITE)
    paper.paste(DRAWN.resize((300, 400)), (100, 100))
    seen = only(made(name, paper))
    assert is_like(seen, paper.resize(seen.size))


@pytest.mark.parametrize("name", ["TIFF", "BMP"])
def test_an_unpacked_picture_that_ends_with_zeros_is_cut_off(name: str) -> None:
    """Zeros are black there. A black border at the edge of a scan is none."""
    assert refusal_of(zeroed(made(name), 0.5)) is FileCutOff
    border = DRAWN.copy()
    border.paste(BLACK, (0, 560, 480, 640))
    assert is_like(only(made(name, border)), border)


@pytest.mark.parametrize("quality", [60, 95])
@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}])
def test_a_blank_part_is_no_missing_part(quality: int, options: dict[str, Any]) -> None:
    """A page that is white for long has zeros in its data, if its tables code them so."""
    page = Image.new("RGB", (3000, 4000), "white")
    page.paste(DRAWN, (0, 0))
    page.paste(DRAWN, (2400, 3300))
    assert is_like(only(saved(page, "JPEG", quality=quality, **options)), page)
    assert is_like(only(saved(Image.new("L", (3000, 4000), 255), "JPEG", **options)), Image.new("L", (8, 8), 255))


@pytest.mark.parametrize("marker", [b"\xff\xd9", b"\xff\xe5\0\x04ab", b"\xff\xc4\0\x04ab", b"\xff\x01"])
def test_a_marker_in_the_middle_of_a_jpeg_does_not_make_it_grey(marker: bytes) -> None:
    """libjpeg ends the picture at any marker and fills the rest with grey, without an error."""
    content = made("JPEG")
    middle = len(content) // 2
    assert refusal_of(content[:middle] + marker + content[middle:]) in {FileDamaged, FileCutOff}


def test_a_wrong_checksum_of_broken_png_data_is_damage() -> None:
    """Data that the checksums convict is not read, even where it can be unpacked: from there on the picture is not sure."""
    rows = photos.png_chunks(made("PNG", compress_level=0))
    pieces = photos.in_pieces(photos.png_of(rows))
    kind, body = pieces[20]
    changed = [*pieces]
    changed[20] = kind, body[:100] + bytes([body[100] ^ 255]) + body[101:]
    content = bytearray(photos.png_of(changed))
    original = struct.pack("!I", zlib.crc32(kind + body))
    wrong = struct.pack("!I", zlib.crc32(changed[20][0] + changed[20][1]))
    assert refusal_of(bytes(content).replace(wrong, original)) is FileDamaged


def test_a_tile_that_is_missing_is_noticed() -> None:
    """libheif paints it green and reports nothing. Only the last bytes of the file are gone."""
    content = made("HEIC of tiles")
    assert refusal_of(content[:-50]) is FileCutOff


# Paper


@pytest.mark.parametrize(
    ("colours", "paper"),
    [([WHITE], BLACK), ([YELLOW], BLACK), ([BLACK], WHITE), ([(200, 0, 0), (0, 0, 160)], WHITE), ([WHITE, BLACK], GREY)],
)
@pytest.mark.parametrize("name", ["PNG", "lossless WebP", "TIFF"])
def test_ink_on_nothing_is_put_on_paper_that_shows_it(
    name: str, colours: list[tuple[int, int, int]], paper: tuple[int, int, int]
) -> None:
    """White ink is on dark paper, dark and coloured ink on white, and ink of both kinds on grey."""
    page = only(made(name, photos.ink(colours)))
    assert page.getpixel((5, 5)) == pytest.approx(paper, abs=8)
    for number, colour in enumerate(colours):
        assert page.getpixel((160, 20 + 30 * number)) == pytest.approx(colour, abs=25)


def test_a_photo_with_a_few_transparent_pixels_stays_on_white() -> None:
    """Rounded corners of a light picture are no reason for dark paper."""
    photo = Image.new("RGBA", (320, 320), (240, 240, 240, 255))
    photo.paste((0, 0, 0, 0), (0, 0, 40, 40))
    assert only(saved(photo, "PNG")).getpixel((10, 10)) == pytest.approx(WHITE, abs=4)
