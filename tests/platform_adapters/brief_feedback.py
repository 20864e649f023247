"""An adapter with an older signature: `analyze` takes neither the task nor the hints."""

from tests.platform_adapters.feedback import Result


class Adapter:
    def analyze(self, *, text_md: str, criteria: list[str]) -> Result:
        return Result(text_md, criteria)


def build() -> Adapter:
    return Adapter()
