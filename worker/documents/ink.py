"""Ink on a page, found in its picture. It distinguishes an empty reading from an empty page.

The picture is decoded in a child process like every other, because it may be a file as the pupil sent it.
"""

import functools
import os
import select
from enum import Enum
from io import BytesIO

from PIL import Image, ImageChops, ImageFilter

from worker.documents.sandbox import sandboxed

INK_SECONDS = 2.0  # for a picture of the largest size, which takes 0.15 s of an idle core
FAINT, CLEAR = 8, 16  # levels of 255 darker than the paper around: the noise of a scan is below, pencil above
AROUND_PIXELS = 25  # to each side: wider than a stroke, narrower than a shadow
FAINT_PIXELS = 30  # fewer are dust
STRONG, STRONG_PIXELS = 40, 6  # of a small minus or full stop in ink
RULE_PIXELS = 24  # to each side: a straight run of twice this length is a rule of the paper and not a letter
CELL_PIXELS, INK_PIXELS, LEAST_CELLS = 16, 20, 3  # writing fills some cells, and dust fills none


class Ink(Enum):
    """NONE: nothing stands out from the paper. LITTLE: rules, squares or dust, and nothing that looks written."""

    NONE = b"0"
    LITTLE = b"1"
    WRITTEN = b"2"


def ink_in(picture: bytes) -> Ink:
    """Examine a page of JPEG or PNG bytes. WRITTEN if that fails, because a page is not blank for lack of memory."""
    try:
        with sandboxed(functools.partial(_send_ink, picture)) as child:
            readable = select.poll()
            readable.register(child.fd, select.POLLIN)
            found = os.read(child.fd, 1) if readable.poll(INK_SECONDS * 1000) else b""
    except OSError:
        return Ink.WRITTEN
    return Ink(found) if found in {each.value for each in Ink} else Ink.WRITTEN


# In the child


def _send_ink(picture: bytes, fd: int) -> None:
    os.write(fd, ink_of(Image.open(BytesIO(picture), formats=("JPEG", "PNG"))).value)


def ink_of(picture: Image.Image) -> Ink:
    """Compare each point with the paper around it, so that shadows and the paper's colour do not count."""
    grey = picture.convert("L")
    if not _stands_out(picture if picture.mode in {"L", "RGB"} else grey):
        return Ink.NONE
    darker = darkness(grey, grey.filter(ImageFilter.BoxBlur(1)))
    marks = darker.point(lambda level: 255 if level >= CLEAR else 0)
    cells = ImageChops.subtract(marks, _rules(marks)).reduce(CELL_PIXELS)
    filled = sum(cells.histogram()[INK_PIXELS * 255 // CELL_PIXELS**2 :])
    return Ink.WRITTEN if filled >= LEAST_CELLS else Ink.LITTLE


def darkness(grey: Image.Image, smooth: Image.Image) -> Image.Image:
    """Return the levels by which each point of a smoothed page is darker than the paper around it."""
    return ImageChops.subtract(grey.filter(ImageFilter.BoxBlur(AROUND_PIXELS)), smooth)


def _stands_out(picture: Image.Image) -> bool:
    """True if something differs from what is around it, in any colour: yellow on white and red on green have no darkness."""
    around, smooth = picture.filter(ImageFilter.BoxBlur(AROUND_PIXELS)), picture.filter(ImageFilter.BoxBlur(1))
    histograms = [band.histogram() for band in ImageChops.difference(around, smooth).split()]
    return any(sum(each[FAINT:]) >= FAINT_PIXELS or sum(each[STRONG:]) >= STRONG_PIXELS for each in histograms)


def _rules(marks: Image.Image) -> Image.Image:
    """Long straight runs, in both directions, with what is next to them."""
    thick = marks.filter(ImageFilter.MaxFilter(3))
    return ImageChops.lighter(runs(thick, RULE_PIXELS, 0), runs(thick, 0, RULE_PIXELS))


def runs(marks: Image.Image, x: int, y: int) -> Image.Image:
    """Return straight runs of white in a mask, of twice `x` or `y` pixels and more, with what is next to them."""
    whole = marks.filter(ImageFilter.BoxBlur((x, y))).point(lambda level: 255 if level > 0.9 * 255 else 0)
    return whole.filter(ImageFilter.BoxBlur((x + 2, y + 2))).point(lambda level: 255 if level else 0)
