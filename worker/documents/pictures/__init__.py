"""Picture files as a source of pages. The bytes decide on the format, and a missing part of a picture is noticed.

source    decodes the pictures of a file, within the memory of the child
formats   finds the format in the first bytes
jpeg, png, webp, heif (with AVIF), tiff, plain (GIF and BMP)
          one format each: only the parts that make the picture reach its decoder
boxes     the places of the picture's data in a HEIF or AVIF file
whole, row_marks
          the share of a picture that was decoded
colours, paper, orientation
          modes and colour profiles, transparent drawings, and turns
"""
