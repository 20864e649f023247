"""Control tokens of chat formats in a text, made plain. Ollama's engine parses them wherever they stand in a message.

A pupil's `<|im_end|>` would end the message, and `<__media__>` would count as a picture that is not there. No format is asked for
its tokens: a model may have another template than its family, and a text is read by two models. A tag of HTML has no underscore
and no bar, so it stays.
"""

import re

_ANGLE = (
    r"[|｜][^<>\s]{0,80}>"  # <|im_end|>, <|start_header_id|>, <｜User｜>, <|"|>
    r"|/?[\w▁-]{1,60}[|｜]>"  # <channel|>
    r"|/?(?=[\w▁]{0,60}[_▁])[\w▁]{1,60}>"  # <end_of_turn>, <start_of_image>, <fim_prefix>, <__media__>, <extra_id_1>
    r"|/?(?:s|bos|eos|pad|unk|sep|cls|sop|eop|eot|eod|think|thinking|thought|reasoning|answer|image|unused[0-9]{1,5})>"
    r"|<?/?SYS>"
)
_SQUARE = (
    r"/?(?:INST|THINK|IMG|AUDIO|ARGS|PREFIX|SUFFIX|MIDDLE|BOS|EOS|PAD|UNK|CLS|SEP|MASK|gMASK|sMASK|img(?:-[0-9]{1,9})?"
    r"|(?=[A-Z0-9]{0,60}_)[A-Z0-9_]{3,60})\]"  # [/INST], [img-0] of Ollama itself, [TOOL_CALLS], [SYSTEM_PROMPT]
)
_TOKEN = re.compile(rf"<(?={_ANGLE})|\[(?={_SQUARE})|◁(?=/?\w{{1,60}}▷)")
_BLUNT = {"<": "‹", "[": "⁅", "◁": "‹"}


def plain(text: str) -> str:
    """Replace the bracket that opens a control token by a similar one, which no tokenizer has in a token of this kind."""
    return _TOKEN.sub(lambda bracket: _BLUNT[bracket[0]], text)
