"""An invented submission of the length of a notebook page, in each language of the prompts."""

from typing import Any

SUBMISSION: dict[str, dict[str, Any]] = {
    "de": {
        "work": (
            "Zuerst habe ich die Länge und die Breite gemessen. Das Rechteck ist 4 cm lang und 3 cm breit. Den Umfang bekommt "
            "man, wenn man alle vier Seiten zusammenzählt, also 4 + 3 + 4 + 3 = 14 cm. Die Fläche habe ich mit Länge mal Breite "
            "gerechnet, das sind 12 Quadratzentimeter. Zur Probe habe ich Kästchen gezählt, es waren auch 12."
        ),
        "criteria": ("Der Rechenweg ist nachvollziehbar.", "Das Ergebnis stimmt.", "Die Einheiten sind angegeben."),
        "instruction_md": "Berechne Umfang und Fläche des Rechtecks und erkläre deinen Weg.",
        "teacher_context_md": None,
    },
    "en": {
        "work": (
            "First I measured the length and the width. The rectangle is 4 cm long and 3 cm wide. You get the perimeter by "
            "adding up all four sides, so 4 + 3 + 4 + 3 = 14 cm. I worked out the area as length times width, which is 12 square "
            "centimetres. To check it I counted squares, and there were 12 of them too."
        ),
        "criteria": ("The steps can be followed.", "The result is right.", "The units are given."),
        "instruction_md": "Work out perimeter and area of the rectangle and explain your way.",
        "teacher_context_md": None,
    },
}
