"""The hold of pictures in words: what fails, and the remedy."""

_UNRESOLVED = "the host name of the object store is not resolved"
_KNOWN: dict[str, tuple[str, str]] = {
    "StoreUnreachable": ("the object store cannot be reached", "start it, or correct SUPABASE_URL"),
    "StoreNameUnresolved": (_UNRESOLVED, "repair the name servers of this host, or correct SUPABASE_URL"),
    "StoreRejected": (
        "the object store does not accept the key or has no such bucket",
        "correct SUPABASE_SERVICE_ROLE_KEY or LEARNING_STORAGE_BUCKET",
    ),
    "StoreFailed": ("the object store answers with errors", "read its log, and check SUPABASE_URL"),
    "StoreBusy": ("the object store asks for a pause", "nothing to do, unless it stays"),
    "StoreFileMissing": (
        "the files of several submissions in a row are missing",
        "check LEARNING_STORAGE_BUCKET or STORAGE_VERIFY_ROOT",
    ),
    "RootUnreadable": (
        "the directory of the files cannot be read",
        "check STORAGE_VERIFY_ROOT, its mount and the rights of this user",
    ),
    "FileTimeout": ("the disk of STORAGE_VERIFY_ROOT does not answer", "check the disk or its network"),
}
_OTHER = ("files cannot be read", "run check")


def in_words(error_class: str) -> tuple[str, str]:
    """Return what fails and the remedy."""
    return _KNOWN.get(error_class, _OTHER)
