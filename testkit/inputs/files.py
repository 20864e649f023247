"""Valid and invalid files."""

from io import BytesIO

from PIL import Image

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
    ink = b"0 g 0 0 100 100 re f"
    field = b"<</Type/XObject/Subtype/Form/BBox[0 0 100 100]/Length %d>>stream\n%s\nendstream" % (len(ink), ink)
    kids = b" ".join(b"%d 0 R" % (6 + number) for number in range(pages))
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents 3 0 R/Annots[%s]>>" % (
        media_box.encode(),
        b"5 0 R" * has_field,
    )
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[5 0 R]>>>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (kids, pages),
        b"<</Length 0>>stream\n\nendstream",
        field,
        b"<</Type/Annot/Subtype/Widget/FT/Tx/T(a)/Rect[50 50 150 150]/F 4/AP<</N 4 0 R>>>>",
        *[page] * pages,
    ]
    return assembled(objects, trailer)


def assembled(objects: list[bytes], trailer: bytes) -> bytes:
    content, offsets = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(b"%010d 00000 n \n" % len(content))
        content += b"%d 0 obj%s\nendobj\n" % (number, body)
    table = b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, b"".join(offsets))
    return (
        content
        + table
        + b"trailer<</Size %d/Root 1 0 R%s>>\nstartxref\n%d\n%%%%EOF"
        % (
            len(objects) + 1,
            trailer,
            len(content),
        )
    )
