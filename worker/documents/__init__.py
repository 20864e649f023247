"""From a submission's file to pages for a vision model.

    storage   reads the file, from a local directory or the object store
    decoder   decodes it in a child process and passes its pages on
    sandbox   the child: no descriptors, little memory and time, no way to write files
    one_process  the filter that forbids the child to start a process
    ink       finds writing on a page
    pages     the decoding itself: pictures and PDFs to upright JPEG pages
    cutting   cuts a long page into pieces of legible size
    legibility  judges a page: blank, pale, blurred, written too small
    text_layer, glyph_shapes
              a PDF page's own text, if it is what the page shows

Pictures:

    picture_formats  finds the format in the bytes
    pictures         picture files as a source of pages, within the memory of the child
    jpeg, png, webp, heif, tiff_pages, plain_pictures  one format each: only the parts that make the picture reach its decoder
    boxes            where a HEIC or AVIF file has the data of its picture
    whole, row_marks the share of a picture that was decoded
    colours, paper, orientation  modes, colour profiles, transparent drawings and turns
    missing   pages that cannot be decoded, of a document that has others
    host_fonts  fonts of this host, for letters of a PDF without a font
    pdf       a PDF as a source of pages, with the modules pdf_annotations, pdf_appearances (what has no appearance is drawn),
              pdf_dictionaries, pdf_fonts, pdf_forms and pdf_pictures (what pdfium leaves out is noted or refused)

A worker never decodes a file in its own process.
"""
