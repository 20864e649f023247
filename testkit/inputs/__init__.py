"""Every kind of input and every answer of a model, run through a real queue with real supervisors (tests/system/test_inputs.py).

`catalogue` and `every_page` list the inputs. `answers` and `corruptions` make answers and rows. `run` runs them and compares the
results, and `report` prints them (scripts/inputs). `leaks` searches logs, metrics and status for personal data.

Files: `files` (plain ones), `photos` (pictures whose right look is known), `long_pages`, `hard_pages` (blank, pale, blurred or
written too small), `damage` (files that are broken by a seed) and `peak` (the memory that a file takes).
PDFs, all made of `pdf_objects`: `typed_pdfs` (typed work, and text that is hidden in it), `marked_pdfs` (with marks and
annotations) and `odd_pdfs` (each with one trait that a viewer has to handle).
"""
