"""Valid and invalid files."""

from io import BytesIO

from PIL import Image

from testkit.inputs.pdf_objects import assembled, stream

ENCRYPTED = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<" + b"00" * 32 + b">/U<" + b"00" * 32 + b">>>/ID[<00><00>]"


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    target = BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def read(page: bytes) -> Image.Image:
    picture = Image.open(BytesIO(page))
    picture.load()
    return picture


def noise(width: int, height: int) -> Image.Image:
    return Image.effect_noise((width, height), 60).convert("RGB")


def pdf(pages: int = 1, *, media_box: str = "0 0 595 842", has_field: bool = False, trailer: bytes = b"") -> bytes:
    """Write a PDF byte by byte, so that it may be invalid. `has_field` adds a black form field."""
    field = stream(b"0 g 0 0 100 100 re f", b"/Type/XObject/Subtype/Form/BBox[0 0 100 100]")
    kids = b" ".join(b"%d 0 R" % (6 + number) for number in range(pages))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents 3 0 R/Annots[%s]>>" % (
        media_box.encode(),
        b"5 0 R" * has_field,
    )
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R]>>>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        stream(b""),
        field,
        b"<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/Rect[50 50 150 150]/F 4/AP<</N 4 0 R>>>>",
        *[page] * pages,
    ]
    return assembled(objects, trailer)
