"""From a submission's file to pages for a vision model. A worker never decodes a file in its own process.

    submitted the pages of a submission: rendered by the web side, or the original's
    storage   reads the file, from a local directory or the object store
    decoder   decodes it in a child process and passes its pages on
    sandbox   the child: no descriptors, little memory and time, no way to write files
    one_process
              the filter that forbids the child to start a process

In the child:

    pages     upright JPEG pages from a source, which is a decoded file
    pictures  picture files as a source
    pdf       a PDF as a source
    page      a page, its notes, and its bytes in the pipe
    missing   pages that cannot be decoded, of a document that has others
    cutting   cuts a long page into pieces of legible size
    legibility
              judges a page: blank, pale, blurred, written too small
    ink       finds writing on a page, in a child of its own
"""
