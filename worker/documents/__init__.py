"""From a submission's file to pages for a vision model.

    storage   reads the file, from a local directory or the object store
    decoder   decodes it in a child process and passes its pages on
    sandbox   the child: no descriptors, little memory and time, no way to write files
    ink       finds writing on a page
    pages     the decoding itself: pictures and PDFs to upright JPEG pages
    missing   pages that cannot be decoded, of a document that has others
    host_fonts  fonts of this host, for letters of a PDF without a font
    pdf       a PDF as a source of pages, with the modules pdf_annotations, pdf_appearances (what has no appearance is drawn),
              pdf_dictionaries, pdf_fonts, pdf_forms and pdf_pictures (what pdfium leaves out is noted or refused)

A worker never decodes a file in its own process.
"""
