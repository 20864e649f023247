"""The store of the files, as the monitor probes it while pictures are held back: the object store's bucket, or the local root.

probe  one probe of either, which ends in time
root   a look at the root in a child, because a disk may hang
words  the hold in words: what fails, and the remedy
"""
