"""Puts a drawing with transparent parts on paper that shows its ink."""

from PIL import Image

PAPERS = (255, 0, 128)  # white if it will do. Grey is for ink of both kinds
VISIBLE_CONTRAST = 80  # of 255
ENOUGH_INK = 0.9  # of the visible pixels
_MIN_ALPHA = 64
_MIN_TRANSPARENT_SHARE = 0.5  # below it, the picture is a photo with its own paper


def on_paper(picture: Image.Image) -> Image.Image:
    """Return an RGBA picture as RGB."""
    shade = _paper(picture)
    paper = Image.new("RGB", picture.size, (shade, shade, shade))
    paper.paste(picture, mask=picture)
    return paper


def _paper(picture: Image.Image) -> int:
    """Return white, or for ink that white hides the paper on which most of it is seen."""
    visible = picture.getchannel("A").point(lambda alpha: 255 if alpha >= _MIN_ALPHA else 0)
    shades = picture.convert("RGB").convert("L").histogram(visible)
    pixels = sum(shades)
    if pixels == 0 or pixels > (1 - _MIN_TRANSPARENT_SHARE) * picture.width * picture.height:
        return PAPERS[0]
    seen = {
        paper: sum(shades[: max(0, paper - VISIBLE_CONTRAST + 1)]) + sum(shades[paper + VISIBLE_CONTRAST :]) for paper in PAPERS
    }
    return PAPERS[0] if seen[PAPERS[0]] >= ENOUGH_INK * pixels else max(PAPERS, key=seen.__getitem__)
