"""Judges the picture of a page before a model is asked about it: blank, pale, blurred, or written too small.

Runs in the decoder's child. `scripts/bench legibility` measures each rule on drawn pages, and the limits come from its figures.
A page is blank only if nothing at all stands out from its paper, because a page with writing must never be taken for a blank one.
"""

from PIL import Image, ImageChops, ImageFilter

from worker.documents.ink import AROUND_PIXELS, RULE_PIXELS, darkness, runs
from worker.documents.page import Note

COARSE = 4  # reduced by this, a page shows soft and wide marks, and most pages are decided in a sixteenth of the time
BLANK_LEVELS = 4  # of 255: the grain of a scan is below, the palest visible pencil is above
BLANK_PIXELS = 8  # fewer at that level are grain. A full stop has more
THIN_LEVELS, THIN_PIXELS = 7, 3  # of single points: a dash one point high is lost in the mean of three
MAX_SHADE_LEVELS = 40  # over the whole page: a shadow is below, a painted area above
LEAST_LEVELS = 4  # of a mark above the paper, and more on a page with noise
LEAST_PIXELS = 400  # of marks: of fewer, as of a single digit, nothing is said about their quality
DARKEST = 0.95  # the share of the marks that are lighter than the contrast of a page
PALE_LEVELS = 13  # pencil has 21 and more
SOFT_SHARE = 0.16  # of the contrast, between a blur of 3 pixels and one of 7. Sharp strokes have a third and more
FLOWING_PIXELS = 12  # mean width of strokes that run into each other
WASHED_LEVELS = 28  # contrast of black ink that is spread over more than its stroke
JOIN_PIXELS = 8  # to each side: joins the strokes of a small letter
SMALL_PIXELS = 3.2  # mean height of joined strokes: of letters of 4 pixels and less
FINE_SHARE = 0.62  # as SOFT_SHARE: strokes of one or two pixels


def notes_of(picture: Image.Image) -> tuple[Note, ...]:
    """Judge a page of RGB or L in its final size."""
    if is_blank(picture):
        return (Note.BLANK,)
    marks = _Marks(picture.convert("L"))
    if marks.pixels < LEAST_PIXELS:
        return ()
    found = {
        Note.LOW_CONTRAST: marks.contrast < PALE_LEVELS,
        Note.BLURRED: marks.softness < SOFT_SHARE and marks.contrast < WASHED_LEVELS and marks.flow_pixels() > FLOWING_PIXELS,
        Note.SMALL: marks.softness > FINE_SHARE and marks.height_pixels() < SMALL_PIXELS,
    }
    return tuple(note for note, is_found in found.items() if is_found)


def is_blank(picture: Image.Image) -> bool:
    """True if no part differs from the paper around it, in any colour, lighter or darker, sharp or soft."""
    if _is_even(picture):
        return True
    coarse = picture.reduce(COARSE)
    if _span(coarse.reduce(COARSE)) > MAX_SHADE_LEVELS or _has_more(coarse, _around(coarse), BLANK_LEVELS, 1):
        return False
    around, smooth = _around(picture), picture.filter(ImageFilter.BoxBlur(1))
    return not (_has_more(picture, around, THIN_LEVELS, THIN_PIXELS) or _has_more(smooth, around, BLANK_LEVELS, BLANK_PIXELS))


def _is_even(picture: Image.Image) -> bool:
    """True for a page of one colour, as an empty page of a PDF is."""
    return all(picture.width * picture.height in band.histogram() for band in picture.split())


def _around(picture: Image.Image) -> Image.Image:
    return picture.filter(ImageFilter.BoxBlur(AROUND_PIXELS))


def _has_more(picture: Image.Image, around: Image.Image, levels: int, pixels: int) -> bool:
    """True if that many pixels differ by that many levels."""
    differences = ImageChops.difference(picture, around)
    return any(sum(band.histogram()[levels:]) >= pixels for band in differences.split())


def _span(picture: Image.Image) -> int:
    """The levels between the darkest and the lightest parts."""
    histograms = [band.histogram() for band in picture.split()]
    return max(_quantile(levels, 0.999) - _quantile(levels, 0.001) for levels in histograms)


class _Marks:
    """Points that are darker than the paper around them, without the rules of the paper. `contrast` is in levels of 255."""

    def __init__(self, grey: Image.Image) -> None:
        smooth = grey.filter(ImageFilter.BoxBlur(1))
        darker = darkness(grey, smooth)
        least = LEAST_LEVELS + _noise_levels(grey, smooth)
        marks = _at_least(darker, least)
        written = ImageChops.subtract(marks, _rules(marks))
        levels = darker.histogram(written)
        self.pixels, self.contrast = sum(levels), _quantile(levels, DARKEST)
        self._strong = ImageChops.multiply(_at_least(darker, max(least, self.contrast // 2)), written)
        detail = ImageChops.difference(smooth, grey.filter(ImageFilter.BoxBlur(3)))
        self.softness = _quantile(detail.histogram(self._strong), DARKEST) / max(1, self.contrast)

    def height_pixels(self) -> float:
        """Mean height of the strokes, joined along the line."""
        joined = _at_least(self._strong.filter(ImageFilter.BoxBlur((JOIN_PIXELS, 0))), 36)
        return _count(joined) / max(1, _count(ImageChops.subtract(joined, ImageChops.offset(joined, 0, 1))))

    def flow_pixels(self) -> float:
        """Mean width of the strokes, joined across the lines."""
        coarse = self._strong.reduce(COARSE).filter(ImageFilter.BoxBlur((0, JOIN_PIXELS)))
        joined = _at_least(coarse, 20)
        return COARSE * _count(joined) / max(1, _count(ImageChops.subtract(joined, ImageChops.offset(joined, 1, 0))))


def _noise_levels(grey: Image.Image, smooth: Image.Image) -> int:
    """Levels that noise has after a blur of 3 pixels, with a margin."""
    return round(1.6 * _quantile(ImageChops.difference(grey, smooth).histogram(), 0.68))


def _rules(marks: Image.Image) -> Image.Image:
    """Long straight runs in both directions, found in half of the size, which takes a quarter of the time."""
    half = _at_least(marks.reduce(2), 1)
    found = ImageChops.lighter(runs(half, RULE_PIXELS // 2, 0), runs(half, 0, RULE_PIXELS // 2))
    return found.resize(marks.size, Image.Resampling.NEAREST)


def _at_least(picture: Image.Image, level: int) -> Image.Image:
    return picture.point(lambda each: 255 if each >= level else 0)


def _count(mask: Image.Image) -> int:
    return mask.histogram()[255]


def _quantile(histogram: list[int], share: float) -> int:
    """The level that `share` of the pixels do not exceed, 0 without pixels."""
    left = share * sum(histogram)
    for level, pixels in enumerate(histogram):
        left -= pixels
        if left <= 0:
            return level
    return 0
