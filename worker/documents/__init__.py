"""From a submission's file to pages for a vision model.

    storage   reads the file, from a local directory or the object store
    decoder   decodes it in a child process and passes its pages on
    sandbox   the child: no descriptors, little memory and time, no way to write files
    ink       finds writing on a page
    legibility  judges a page: blank, pale, blurred, written too small
    pages     the decoding itself: pictures and PDFs to upright JPEG pages
    cutting   cuts a long page into pieces of legible size
    text_layer, glyph_shapes
              a PDF page's own text, if it is what the page shows

A worker never decodes a file in its own process.
"""
