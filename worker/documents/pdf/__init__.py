"""A PDF as a source of pages. What pdfium leaves out in silence is drawn, noted or refused.

source    renders pages, and finds their sizes
annotations, appearances
          draw annotations and form fields that have no appearance in the file
pictures  density of pictures on a page, and pictures that were not drawn
fonts     letters of fonts that are neither in the file nor on this host
host_fonts
          fonts of this host in place of those that the file lacks
forms     forms and collections whose pages are only a cover
dictionaries
          values that no function of pdfium returns
text_layer, glyph_shapes
          the text of a page, if it is what the page shows
"""
